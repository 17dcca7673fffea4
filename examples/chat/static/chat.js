// The page of a room: shows what its stream says, and sends what one writes. What others have written becomes text
// (textContent), never markup.
"use strict";

const room = document.body.dataset.room;
const by = (id) => document.getElementById(id);
const [scroll, messages, newer, form, trouble] = ["scroll", "messages", "newer", "say", "trouble"].map(by);
const [name, text, state] = ["name", "text", "state"].map(by);

// More are not kept in the page.
const MOST = 500;
// Messages of one person within this time (milliseconds) stand beneath one name.
const TOGETHER = 5 * 60 * 1000;

// Showing

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat([], { dateStyle: "medium" });

function element(tag, kind, content = "") {
  const made = document.createElement(tag);
  made.className = kind;
  made.textContent = content;
  return made;
}

// A colour for each name, always the same (FNV-1a).
function hue(of) {
  let sum = 0x811c9dc5;
  for (const letter of of) sum = Math.imul(sum ^ letter.codePointAt(0), 0x01000193) >>> 0;
  return sum % 360;
}

function stamp(milliseconds) {
  const at = new Date(milliseconds);
  const made = element("time", "", clock.format(at));
  if (at.toDateString() !== new Date().toDateString()) made.prepend(`${day.format(at)}, `);
  made.dateTime = at.toISOString();
  return made;
}

let last = null;

function showMessage(message) {
  const line = element("li", "said");
  line.dataset.id = message.id;
  if (last && last.name === message.name && message.time - last.time < TOGETHER) {
    line.classList.add("more");
  } else {
    const who = element("p", "who");
    const called = element("bdi", "", message.name);
    called.style.setProperty("--hue", hue(message.name));
    who.append(called, stamp(message.time));
    line.append(who);
  }
  line.append(element("p", "what", message.text));
  last = message;
  add(line);
}

function showMissed({ count, exact }) {
  let words = "Some messages may have been missed.";
  if (exact) words = count === 1 ? "1 message was missed." : `${count} messages were missed.`;
  last = null;
  add(element("li", "missed", words));
}

// Whether one looks at the end, and newer messages are followed. Who reads what was said before is left there.
let follows = true;

function toEnd() {
  scroll.scrollTop = scroll.scrollHeight;
  follows = true;
  newer.hidden = true;
}

function add(line) {
  by("empty").hidden = true;
  messages.append(line);
  if (messages.children.length > MOST) messages.firstElementChild.remove();
  if (follows) toEnd();
  else newer.hidden = false;
}

newer.addEventListener("click", toEnd);
scroll.addEventListener("scroll", () => {
  follows = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
  if (follows) newer.hidden = true;
});
// A keyboard comes up, or what one writes has grown.
new ResizeObserver(() => { if (follows) toEnd(); }).observe(scroll);

// Listening

let source = null;
let place = "";
let attempts = 0;

function tell(is, words) {
  if (state.dataset.is === is) return;
  state.dataset.is = is;
  state.textContent = words;
}

function listen() {
  source = new EventSource(`${room}/events?after=${encodeURIComponent(place)}`);
  source.addEventListener("open", () => {
    attempts = 0;
    scroll.ariaBusy = "true"; // what was said before is not read aloud
    tell("open", "connected");
  });
  source.addEventListener("said", (event) => {
    place = event.lastEventId;
    showMessage(JSON.parse(event.data));
  });
  source.addEventListener("here", (event) => {
    place = event.lastEventId;
    scroll.ariaBusy = "false";
  });
  source.addEventListener("missed", (event) => showMissed(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    tell("closed", "no connection, trying again…");
    // The browser connects again by itself where a stream ends, and gives up where it is answered something else,
    // such as 503: then it is for us to try again, ever more rarely.
    if (source.readyState === EventSource.CLOSED) {
      attempts += 1;
      setTimeout(listen, Math.min(30_000, 1000 * 2 ** attempts) * (0.5 + Math.random() / 2));
    }
  });
}

listen();

// Saying

function complain(words, field) {
  trouble.textContent = words;
  for (const one of [name, text]) one.setAttribute("aria-invalid", String(one === field));
  field?.focus();
}

let sending = false;

async function send() {
  if (sending) return;
  if (!name.value.trim()) return complain("Say who you are.", name);
  if (!text.value.trim()) return complain("Write a message first.", text);
  complain("");
  const said = { name: name.value, text: text.value };
  sending = true;
  form.querySelector("button").disabled = true;
  try {
    const answer = await fetch(`${room}/messages`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(said),
    });
    if (!answer.ok) throw new Error((await answer.text()).slice(0, 200) || answer.statusText);
    // What was written meanwhile stays.
    if (text.value === said.text) text.value = "";
    toEnd();
  } catch (error) {
    complain(`Not sent: ${error.message}`);
  } finally {
    sending = false;
    form.querySelector("button").disabled = false;
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});

text.addEventListener("keydown", (event) => {
  // Enter also ends the composition of a character.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});

// Where nothing may be kept, the name is asked for again.
try {
  name.value = localStorage.getItem("name") ?? "";
  name.addEventListener("change", () => localStorage.setItem("name", name.value));
} catch { /* see above */ }
(name.value ? text : name).focus({ preventScroll: true });
