// The board in a browser: parts of the page are fetched anew when the simulator says that they are another.
"use strict";

const page = document.body.dataset.page;
const task = document.body.dataset.task;
const PARTS = page === "board"
  ? ["strip", "flags", "orders", "failing", "requests", "webhooks", "faults", "faulty"]
  : page === "order" ? ["order"] : [];
const ABOUT = {
  orders: ["strip", "flags", "orders"],
  webhooks: ["failing", "webhooks"],
  requests: ["requests"],
  faults: ["faults", "faulty"],
  clock: ["strip", "flags", "orders", "webhooks"],
};
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const isOn = (element) => element !== null && element.getAttribute("aria-pressed") === "true";

// ---- what is wanted: it stands in the address, so that a page that is loaded again shows the same

const wanted = new URLSearchParams(location.search);

function want(name, value) {
  if (value) wanted.set(name, value); else wanted.delete(name);
  if (name !== "page") wanted.delete("page");
  const text = wanted.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
  refresh(["strip", "flags", "orders"]);
}

// ---- making a part as it is now, with as little of it touched as may be: focus, open lines and scrolling stay

function template(html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  return made.content;
}

const key = (node) => node.nodeType === 1 ? node.getAttribute("data-k") : null;

function become(old, made) {
  if (old.nodeType !== made.nodeType || old.nodeName !== made.nodeName || key(old) !== key(made)) {
    old.replaceWith(made);
    return;
  }
  if (old.nodeType !== 1) {
    if (old.nodeValue !== made.nodeValue) old.nodeValue = made.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!made.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  const moved = old.getAttribute("data-is") !== made.getAttribute("data-is");
  for (const { name, value } of made.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  if (moved) old.classList.add("hit");
  if (!old.hasAttribute("data-keep")) becomeChildren(old, made);
}

function becomeChildren(old, made) {
  const keyed = new Map();
  for (const child of old.children) if (key(child) !== null) keyed.set(key(child), child);
  let place = old.firstChild;
  for (const child of [...made.childNodes]) {
    const known = key(child) === null ? null : keyed.get(key(child));
    if (known) {
      keyed.delete(key(child));
      if (known !== place) old.insertBefore(known, place); else place = place.nextSibling;
      become(known, child);
    } else if (place && key(place) === null && key(child) === null) {
      const next = place.nextSibling;
      become(place, child);
      place = next;
    } else {
      old.insertBefore(child, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

// ---- fetching parts, one request at a time, and none while nobody looks

const stale = new Set();
let fetching = false;
let patience = 0;

function refresh(parts) {
  for (const part of parts) {
    if (PARTS.includes(part) && !(part === "requests" && isOn(one("#pause")))) stale.add(part);
  }
  if (!fetching && stale.size && !document.hidden) fetchParts();
}

async function fetchParts() {
  fetching = true;
  const parts = [...stale];
  stale.clear();
  const began = performance.now();
  const query = new URLSearchParams(wanted);
  query.set("names", parts.join(","));
  if (task) query.set("task", task);
  if (one("#rq")) query.set("rq", one("#rq").value);
  query.set("errors", String(isOn(one("#errors"))));
  try {
    const answer = await fetch(`/board/parts?${query}`);
    if (!answer.ok) throw new Error(String(answer.status));
    const content = await answer.json();
    setClock(content.clock);
    for (const [name, html] of Object.entries(content.parts)) show(name, html);
  } catch {
    parts.forEach((part) => stale.add(part));
    patience = 1000;
  }
  // Where a part takes long to make, it is asked for less often.
  const pause = Math.max(150, Math.min(3 * (performance.now() - began), 2000), patience);
  patience = 0;
  setTimeout(() => {
    fetching = false;
    refresh([]);
  }, pause);
}

function show(name, html) {
  if (html !== null) becomeChildren(one(`[data-part="${name}"]`), template(html));
  else if (name === "order") location.reload();
}

// ---- the clock

const clock = { now: 0, speed: 1, at: 0 };
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function setClock(shown) {
  Object.assign(clock, shown, { at: performance.now() });
  const speed = one("#speed");
  if (document.activeElement !== speed) {
    if (![...speed.options].some((option) => Number(option.value) === shown.speed)) {
      speed.add(new Option(`${shown.speed} ×`, shown.speed));
    }
    speed.value = String(shown.speed);
  }
  one(".clock").classList.toggle("frozen", shown.speed === 0);
  tick();
}

function tick() {
  if (!clock.at) return;
  const seconds = clock.now + (performance.now() - clock.at) / 1000 * clock.speed;
  const at = new Date((seconds + 8 * 3600) * 1000); // Singapore, which has no other time in summer
  const two = (number) => String(number).padStart(2, "0");
  const time = `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}:${two(at.getUTCSeconds())}`;
  if (one("#time").textContent !== time) one("#time").textContent = time;
  const day = `${DAYS[at.getUTCDay()]} ${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
  if (one("#day").textContent !== day) {
    one("#day").textContent = day;
    one("#year").textContent = at.getUTCFullYear();
  }
}

setInterval(tick, 200);
setInterval(() => {
  // "late by 5 min" grows old by itself.
  if (clock.speed >= 10) refresh([...ABOUT.clock, "order"]);
}, 2000);
setInterval(() => refresh([...ABOUT.clock, "order"]), 20000);

// ---- asking each second what has changed since

let known = JSON.parse(document.body.dataset.changes);

async function ask() {
  let isLive = true;
  try {
    const now = await (await fetch("/_simulator/changes")).json();
    const parts = Object.keys(now).filter((part) => now[part] !== known[part]);
    known = now;
    if (parts.includes("world")) refresh(PARTS); // started anew, or reset
    for (const part of parts) refresh(ABOUT[part] || []);
    if (parts.length) refresh(["order"]);
  } catch {
    isLive = false;
  }
  one("#live").classList.toggle("off", !isLive);
  one("#live span").textContent = isLive ? "Live" : "Connecting";
  setTimeout(ask, 1000);
}

ask();
document.addEventListener("visibilitychange", () => refresh([]));
window.addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

// ---- saying and doing

let saying = 0;

function say(text) {
  one("#say").textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { one("#say").textContent = ""; }, 4000);
}

async function call(verb, path, body, done) {
  try {
    const answer = await fetch(path, {
      method: verb, body: body || undefined, headers: body ? { "Content-Type": "application/json" } : {},
    });
    const content = await answer.json();
    say(answer.ok ? done : `Not done: ${content.message}`);
    if (answer.ok) refresh(PARTS);
    return answer.ok;
  } catch {
    say("The simulator does not answer");
    return false;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied");
  } catch {
    say("The browser does not let this page copy");
  }
}

async function load(line) {
  const { load: name, number } = line.dataset;
  const answer = await fetch(`/board/parts?names=${name}&number=${number}`);
  const html = (await answer.json()).parts[name];
  one(".more", line).innerHTML = html || "<p>It is forgotten.</p>";
}

// The focus goes back to what opened a menu, unless it is elsewhere already.
function close(menu) {
  const isInside = menu.contains(document.activeElement);
  menu.open = false;
  if (isInside) one("summary", menu).focus();
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("button, a, summary");
  for (const menu of all(".menu[open]")) if (!menu.contains(event.target)) close(menu);
  if (!target || target.disabled) return;
  const data = target.dataset;
  if (data.call && target.type !== "submit") {
    if (data.ask && !window.confirm(data.ask)) return;
    call(data.verb || "POST", data.call, data.body, data.say).then((done) => {
      const line = target.closest(".ev");
      if (done && line) setTimeout(() => load(line), 300);
    });
    const menu = target.closest(".menu");
    if (menu) close(menu);
  } else if (data.copy) {
    copy(data.copy);
  } else if (data.status) {
    const chosen = new Set((wanted.get("status") || "").split(",").filter(Boolean));
    if (!chosen.delete(data.status)) chosen.add(data.status);
    want("status", [...chosen].join(","));
  } else if (data.kind) {
    want("kind", wanted.get("kind") === data.kind ? "" : data.kind);
  } else if (data.sort) {
    want("sort", data.sort === "due" ? "" : data.sort);
  } else if (data.turn) {
    want("page", data.turn);
    one(".scroll").scrollTop = 0;
  } else if (data.view) {
    setView(data.view);
  } else if (data.preset) {
    preset(JSON.parse(data.preset));
  } else if (target.id === "clear") {
    ["status", "kind", "q"].forEach((name) => wanted.delete(name));
    one("#q").value = "";
    want("q", "");
    one("#q").focus();
  } else if (target.id === "errors" || target.id === "pause") {
    target.setAttribute("aria-pressed", String(!isOn(target)));
    refresh(["requests"]);
  } else if (target.getAttribute("role") === "tab") {
    select(target);
  }
});

document.addEventListener("toggle", (event) => {
  const line = event.target;
  if (line.matches && line.matches("details[data-load]") && line.open) load(line);
}, true);

document.addEventListener("submit", (event) => {
  event.preventDefault();
  const form = event.target;
  if (!form.dataset.call) return;
  const content = {};
  for (const [name, value] of new FormData(form)) {
    const field = form.elements[name];
    if (value === "" && name !== "url") continue;
    content[name] = field.type === "number" ? Number(value) : value;
  }
  if (form.id === "fault") {
    content.rate /= 100;
    if (content.operation === "webhook") delete content.when;
  }
  call("POST", form.dataset.call, JSON.stringify(content), form.dataset.say);
});

document.addEventListener("change", (event) => {
  if (event.target.id === "speed") {
    const speed = Number(event.target.value);
    const done = speed ? `The clock runs ${speed} times as fast` : "The clock stands still";
    call("POST", "/_simulator/clock", JSON.stringify({ speed }), done);
  }
});

function preset(values) {
  const form = one("#fault");
  for (const [name, value] of Object.entries(values)) form.elements[name].value = value;
}

// ---- finding, views, tabs, keys

let typing = 0;

function setView(view) {
  all("[data-view]").forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.view === view)));
  want("view", view === "table" ? "" : view);
}

for (const field of all("#q, #rq")) {
  field.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => field.id === "q" ? want("q", field.value.trim()) : refresh(["requests"]), 150);
  });
}

function select(tab, focus = false) {
  for (const each of all("[role=tab]")) {
    const isThis = each === tab;
    each.setAttribute("aria-selected", String(isThis));
    each.tabIndex = isThis ? 0 : -1;
    const panel = one(`#${each.getAttribute("aria-controls")}`);
    if (panel.classList.contains("panel")) panel.hidden = !isThis;
  }
  document.body.classList.toggle("traffic-only", tab.id !== "tab-orders");
  if (focus) tab.focus();
}

const tabs = () => all("[role=tab]").filter((tab) => tab.offsetParent !== null);

if (page === "board") {
  one("[role=tablist]").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = tabs();
    select(shown[(shown.indexOf(document.activeElement) + step + shown.length) % shown.length], true);
  });
  const wide = window.matchMedia("(min-width: 1000px)");
  const fit = () => select(one(wide.matches ? "#tab-requests" : "#tab-orders"));
  wide.addEventListener("change", fit);
  fit();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    all(".menu[open]").forEach(close);
    return;
  }
  const isTyping = event.target.matches("input, select, textarea");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !one("#keys").checked || page !== "board") return;
  if (event.key === "/") {
    event.preventDefault();
    one("#q").focus();
  } else if (event.key === "v") {
    setView(isOn(one("[data-view=table]")) ? "columns" : "table");
  } else if (event.key === "t") {
    const shown = tabs();
    const next = shown.findIndex((tab) => tab.getAttribute("aria-selected") === "true") + 1;
    select(shown[next % shown.length], true);
  }
});

try {
  one("#keys").checked = localStorage.getItem("keys") !== "off";
  one("#keys").addEventListener("change", (event) => {
    localStorage.setItem("keys", event.target.checked ? "on" : "off");
  });
} catch { /* a browser that remembers nothing */ }

refresh(PARTS);
