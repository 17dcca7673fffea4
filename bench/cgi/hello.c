/* The smallest CGI program: what is measured is everything but it. */
#include <unistd.h>

int main(void) {
    static const char answer[] = "Content-Type: text/plain\n\nHello, world!\n";
    return write(1, answer, sizeof answer - 1) == sizeof answer - 1 ? 0 : 1;
}
