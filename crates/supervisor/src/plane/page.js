"use strict";
// Everything here comes by server-sent events (/events). Texts of clients and applications are only ever set as text.
(() => {
  const byId = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    return element;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const draw = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  // How figures are written.
  const number = (value) =>
    value == null ? "–" : value >= 1e6 ? (value / 1e6).toFixed(1) + "M" : value >= 1e4 ? (value / 1e3).toFixed(1) + "k"
      : value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(value < 1 ? 2 : 1);
  const millis = (value) =>
    value == null ? "–" : value >= 1000 ? number(value / 1000) + " s" : value >= 1 ? number(value) + " ms" : number(value * 1000) + " µs";
  const age = (seconds) => {
    if (seconds == null) return "–";
    const whole = Math.floor(seconds);
    if (whole < 1) return Math.round(seconds * 1000) + " ms";
    if (whole < 60) return seconds.toFixed(1) + " s";
    if (whole < 3600) return `${Math.floor(whole / 60)} m ${whole % 60} s`;
    if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} m`;
    return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
  };
  const size = (bytes) => (bytes == null ? "–" : `${number(bytes / 1048576)} MiB`);
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false });

  // The plots: a line for each column, over the last ten minutes.
  const SPAN = 600, HEIGHT = 140, LEFT = 46, BOTTOM = 16, TOP = 6;
  const PLOTS = {
    rate: { form: (value) => number(value) + "/s", lines: { rate: ["all", "blue"], errors: ["5xx", "red"] } },
    latency: { form: millis, lines: { p50: ["p50", "teal"], p95: ["p95", "amber"], p99: ["p99", "red"] } },
    workers: { form: number, least: 1, lines: { wanted: ["wanted", "grey"], ready: ["ready", "teal"] } },
    queue: { form: number, least: 1, lines: { running: ["running", "blue"], queued: ["queued", "amber"] } },
  };
  let columns = [], samples = [], hovered = null;

  // 1, 2 or 5 times a power of ten.
  const round = (value) => {
    const power = 10 ** Math.floor(Math.log10(value));
    return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
  };

  for (const [id, plot] of Object.entries(PLOTS)) {
    plot.figure = byId(id);
    plot.svg = draw("svg", { role: "img", "aria-label": id });
    plot.figure.append(plot.svg);
    plot.svg.addEventListener("pointermove", (event) => {
      const box = plot.svg.getBoundingClientRect();
      const share = (event.clientX - box.left - LEFT) / (box.width - LEFT);
      hovered = samples.length && share >= 0 ? samples[samples.length - 1][0] - (1 - share) * SPAN : null;
      plots();
    });
    plot.svg.addEventListener("pointerleave", () => { hovered = null; plots(); });
  }

  const plots = () => {
    if (!samples.length) return;
    const now = samples[samples.length - 1][0];
    let shown = samples[samples.length - 1];
    if (hovered != null) {
      shown = samples.reduce((best, one) => (Math.abs(one[0] - hovered) < Math.abs(best[0] - hovered) ? one : best));
    }
    for (const plot of Object.values(PLOTS)) {
      const width = plot.svg.clientWidth || 600;
      plot.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      const x = (time) => LEFT + (1 - (now - time) / SPAN) * (width - LEFT);
      const names = Object.keys(plot.lines);
      const at = names.map((name) => columns.indexOf(name));
      let most = 0;
      for (const sample of samples) for (const column of at) most = Math.max(most, sample[column] ?? 0);
      const top = round(Math.max(most, plot.least ?? 0.001));
      const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);
      const parts = [];
      const label = (text, left, below, anchor) =>
        parts.push(draw("text", { x: left, y: below, "text-anchor": anchor }, text));
      for (const share of [0, 0.5, 1]) {
        const level = y(top * share);
        parts.push(draw("line", { class: "grid", x1: LEFT, x2: width, y1: level, y2: level }));
        label(plot.form(top * share), LEFT - 6, level + 3, "end");
      }
      for (const minutes of [10, 5, 0]) {
        const anchor = minutes === 10 ? "start" : minutes ? "middle" : "end";
        label(minutes ? `−${minutes} min` : "now", x(now - minutes * 60), HEIGHT - 2, anchor);
      }
      names.forEach((name, index) => {
        let path = "", drawn = false, last = 0, first = 0, area = "";
        for (const sample of samples) {
          const value = sample[at[index]];
          if (value == null) { drawn = false; continue; }
          const point = `${x(sample[0]).toFixed(1)} ${y(value).toFixed(1)}`;
          first ||= x(sample[0]);
          path += (drawn ? "L" : "M") + point;
          area += (area ? "L" : "M") + point;
          last = x(sample[0]);
          drawn = true;
        }
        const color = plot.lines[name][1];
        if (index === 0 && area && color !== "grey") {
          const ground = y(0).toFixed(1);
          parts.push(draw("path", { class: "area " + color, d: `${area}L${last.toFixed(1)} ${ground}L${first.toFixed(1)} ${ground}Z` }));
        }
        parts.push(draw("path", { class: color, d: path, "data-line": name }));
      });
      if (hovered != null) {
        parts.push(draw("line", { class: "cursor", x1: x(shown[0]), x2: x(shown[0]), y1: TOP, y2: HEIGHT - BOTTOM }));
      }
      plot.svg.replaceChildren(...parts);
      const legend = plot.figure.querySelector("b");
      legend.replaceChildren(...names.map((name, index) =>
        make("span", `${plot.lines[name][0]} ${plot.form(shown[at[index]])}`, plot.lines[name][1])));
      if (hovered != null) legend.append(make("span", clock(shown[0]), "quiet"));
    }
  };

  // The tables.
  const fill = (id, rows) => {
    byId(id).tBodies[0].replaceChildren(...rows.map((cells) => {
      const row = make("tr");
      for (const cell of cells) row.append(Array.isArray(cell) ? make("td", ...cell) : make("td", cell ?? "–"));
      return row;
    }));
  };
  const note = (worker) => {
    if (worker.leaves) return ["leaves: " + worker.leaves, "warn"];
    if (worker.state === "ready" && worker.gil_age > 3) return [`Python has not run for ${age(worker.gil_age)}`, "bad"];
    return "";
  };
  const grave = (seconds) => (seconds >= 30 ? "bad" : seconds >= 5 ? "warn" : "");

  const tick = (status) => {
    const moving = status.groups.some((group) => group.loading != null);
    const state = byId("state");
    state.textContent = status.draining ? "ending" : moving ? "reloading" : status.ready ? "ready" : "not ready";
    state.className = "state " + (status.draining || moving ? "between" : status.ready ? "ready" : "wrong");
    byId("about").textContent = `${status.version} · process ${status.pid} · up ${age(status.uptime)}`;
    document.title = `${state.textContent} · stdserve`;
    const wanted = status.groups.reduce((sum, group) => sum + group.wanted, 0);
    byId("worker-count").textContent = `${status.workers.filter((one) => one.state === "ready").length} of ${wanted} ready`;
    fill("worker-table", status.workers.map((one) => [
      one.pid, one.group, [one.state, one.state === "ready" ? "" : "warn"], age(one.age), one.generation, one.running,
      [one.queued ?? "–", one.queued ? "warn" : ""], one.connections, one.requests,
      size(one.rss), one.cpu == null ? "–" : age(one.cpu), note(one),
    ]));
    byId("request-count").textContent = status.in_flight.total || "none";
    fill("request-table", status.in_flight.requests.map((one) =>
      [[age(one.age), grave(one.age)], one.phase, one.pid, one.client, one.line]));
    if (status.sample) samples.push(status.sample);
    while (samples.length && samples[samples.length - 1][0] - samples[0][0] > SPAN) samples.shift();
    plots();
  };

  const autopsy = (one) => {
    const box = byId("autopsies");
    box.querySelector(".empty")?.remove();
    const details = make("details");
    const summary = make("summary");
    summary.append(make("time", clock(one.time)), `worker ${one.pid ?? "–"}: ${one.text.split("\n", 1)[0]}`);
    details.append(summary, make("pre", one.text));
    box.prepend(details);
    while (box.children.length > 50) box.lastChild.remove();
  };

  const log = (line) => {
    const entry = make("li", undefined, line.level);
    entry.append(make("time", clock(line.time)), line.text);
    byId("log").prepend(entry);
    while (byId("log").children.length > 100) byId("log").lastChild.remove();
  };

  // What comes.
  let source = null;
  const lost = (text) => {
    byId("state").textContent = text;
    byId("state").className = "state wrong";
    document.title = `${text} · stdserve`;
  };
  const follow = () => {
    source = new EventSource("events");
    source.addEventListener("history", (event) => {
      ({ columns, samples } = JSON.parse(event.data));
      // The first tick brings the newest sample again; after a break all else comes again, too.
      samples.pop();
      byId("autopsies").querySelectorAll("details").forEach((one) => one.remove());
      byId("log").replaceChildren();
    });
    source.addEventListener("tick", (event) => tick(JSON.parse(event.data)));
    source.addEventListener("autopsy", (event) => autopsy(JSON.parse(event.data)));
    source.addEventListener("log", (event) => log(JSON.parse(event.data)));
    source.onerror = () => {
      lost("no connection");
      if (source.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(() => source ?? follow(), 2000);
      }
    };
  };
  const pause = () => {
    if (!source) return follow();
    source.close();
    source = null;
    lost("paused");
  };

  // What is asked for.
  const stacks = async () => {
    const said = byId("stacks-answer");
    said.textContent = "asking …";
    try {
      const answer = await fetch("stacks", { method: "POST", headers: { "X-Stdserve": "1" } });
      const value = await answer.json();
      said.textContent = value.error ?? (value.missing.length ? `no answer from ${value.missing.join(", ")}` : "");
    } catch (error) {
      said.textContent = String(error);
    }
  };
  const theme = () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
      || (!document.documentElement.className && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.className = dark ? "light" : "dark";
    try { localStorage.setItem("theme", document.documentElement.className); } catch { /* not kept, then */ }
  };
  const toggle = () => {
    const all = [...document.querySelectorAll("#autopsies details")];
    const open = all.some((one) => !one.open);
    for (const one of all) one.open = open;
  };
  try { document.documentElement.className = localStorage.getItem("theme") ?? ""; } catch { /* the system's, then */ }
  byId("theme").addEventListener("click", theme);
  byId("stacks").addEventListener("click", stacks);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    ({ s: stacks, t: theme, p: pause, e: toggle })[event.key]?.();
  });
  addEventListener("resize", plots);
  follow();
})();
