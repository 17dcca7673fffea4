/* What starting a program and waiting for it costs by itself: posix_spawn(3) and waitpid(2) in a loop.
 *
 *     floor COUNT PROGRAM
 *
 * Prints the processor time of all of it, children included, in microseconds for each start. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

static double spent(int who) {
    struct rusage use;
    getrusage(who, &use);
    return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1e6 + use.ru_utime.tv_usec + use.ru_stime.tv_usec;
}

int main(int argc, char **argv) {
    int count = argc > 2 ? atoi(argv[1]) : 0;
    if (count < 1) {
        return 2;
    }
    char *arguments[] = {argv[2], NULL}, *environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    for (int at = 0; at < count; at++) {
        pid_t pid;
        int status;
        if (posix_spawn(&pid, argv[2], &actions, NULL, arguments, environment) != 0 || waitpid(pid, &status, 0) < 0 ||
            status != 0) {
            return 1;
        }
    }
    printf("%.1f\n", (spent(RUSAGE_SELF) + spent(RUSAGE_CHILDREN)) / count);
    return 0;
}
