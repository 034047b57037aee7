// The live status page: gets states from the feed, and shows each in the next frame.
import {
  find,
  makeGauge,
  makeNumber,
  makeSpark,
  setAttribute,
  setHidden,
  setText,
} from "./status-draw.js";
import { Feed } from "./status-feed.js";
import { Failures, Services } from "./status-lists.js";
import { NatsPanels } from "./status-nats.js";
import { Routes } from "./status-routes.js";
import * as words from "./status-words.js";

const { root, ...sources } = document.body.dataset;
// With the query of this page: if the page requires a key, the key may be in the query.
const [events, snapshot] = [sources.events, sources.snapshot].map((address) => address + location.search);
const LIVE = { live: "Live", polling: "Every 2 s", silent: "No answer", paused: "Paused" };
const SIGNS = { well: "✓", warn: "⚠", bad: "✕", idle: "…" };

const now = {
  state: null,
  how: "connecting",
  heard: 0,
  silent: null,
  isStopping: false,
  isPaused: false,
};
const routes = new Map(); // by name
const tables = { routes: new Routes(root), failures: new Failures(root), services: new Services() };
const drawings = {
  rate: makeSpark(300, 48),
  "in-flight": makeGauge(),
};
const nats = new NatsPanels(find("nats"));
const numbers = {
  rate: makeNumber(find("rate"), words.writeRate),
  failing: makeNumber(find("failing"), words.writeShare),
  "in-flight": makeNumber(find("in-flight"), words.writeCount),
};
let announced = "";
let frame = 0;

/** Unchanged rows stay, unless the state is a whole one. */
function keepRoutes(state) {
  if (state.whole) routes.clear();
  for (const route of state.routes) routes.set(route.name, route);
}

function onState(state, how) {
  if (!state.whole && now.state === null) return;
  keepRoutes(state);
  Object.assign(now, { state, how, heard: Date.now() / 1000, silent: null, isStopping: false });
  requestShow();
}

function onBye() {
  now.isStopping = true;
  requestShow();
}

function onSilence() {
  now.silent ??= now.heard || Date.now() / 1000;
  requestShow();
}

function showTitle({ level, text }) {
  document.title = `${SIGNS[level]} ${text} – ${now.state.title}`;
}

/** A tab in the background has no frames, but its title can change. */
function requestShow() {
  if (document.hidden && now.state !== null) showTitle(judge());
  frame ||= requestAnimationFrame(show);
}

function show() {
  frame = 0;
  showAnswer();
  if (now.isPaused || now.state === null) return;
  const verdict = judge();
  showHero(verdict);
  showCards(now.state);
  nats.show(now.state);
  tables.routes.show(routes);
  tables.failures.show(now.state.failures);
  tables.services.show(now.state.services, routes, now.state.unused);
}

function judge() {
  if (now.silent !== null)
    return {
      level: "bad",
      kind: "silent",
      text: "The gateway does not answer",
      detail: "These are the last numbers that it sent.",
    };
  return words.judge(now.state, { routes: [...routes.values()], isStopping: now.isStopping });
}

/** Shows whether the gateway answers, even during a pause. */
function showAnswer() {
  const isSilent = now.silent !== null;
  const text = isSilent ? `No answer from the gateway since ${words.writeClock(now.silent)}` : "";
  setText(find("banner"), text);
  setHidden(find("banner"), !isSilent);
  setAttribute(document.body, "data-is-old", isSilent);
  const how = isSilent ? "silent" : now.isPaused ? "paused" : now.how;
  setAttribute(find("live"), "data-live", how);
  const clock = now.state === null ? "" : ` · ${words.writeClock(now.state.time)}`;
  if (how !== "connecting" && !(now.isPaused && !isSilent))
    setText(find("live-text"), LIVE[how] + (isSilent ? "" : clock));
  if (isSilent) announce("silent", text);
}

function showHero({ level, kind, text, detail }) {
  setAttribute(find("hero"), "data-level", level);
  setAttribute(find("hero-icon"), "href", `#icon-${level}`);
  setText(find("headline"), text);
  setText(find("detail"), detail);
  showTitle({ level, text });
  if (now.silent === null) announce(kind, text);
}

/** Announces changes of the overall state, and nothing else, to people who listen to the page. */
function announce(kind, text) {
  if (kind === announced) return;
  announced = kind;
  setText(find("announcement"), text);
}

function showCards({
  rate,
  failing,
  in_flight: inFlight,
  in_flight_limit: limit,
  connections,
  spark,
  version,
  workers,
  time,
  started,
}) {
  numbers.rate(rate);
  numbers.failing(failing);
  numbers["in-flight"](inFlight);
  drawings.rate.show(spark);
  drawings["in-flight"].show(inFlight / limit);
  setText(find("rate-aside"), `peak ${words.writeRate(Math.max(0, ...spark))}`);
  setText(find("in-flight-limit"), `of ${words.writeCount(limit)}`);
  setText(find("connections"), words.writeCount(connections));
  setText(find("uptime"), words.writeSpan(time - started));
  setText(find("gateway-aside"), `${words.countOf(workers, "worker")}, version ${version}`);
  setAttribute(find("failing-card"), "data-level", failing >= 0.1 ? "bad" : failing >= 0.01 ? "warn" : "well");
}

function togglePause() {
  now.isPaused = !now.isPaused;
  setText(find("pause"), now.isPaused ? "Resume" : "Pause");
  if (now.isPaused) setText(find("live-text"), `Paused · ${now.state ? words.writeClock(now.state.time) : ""}`);
  requestShow();
}

for (const [name, { element }] of Object.entries(drawings)) find(`${name}-drawing`).append(element);
find("pause").addEventListener("click", togglePause);
new Feed({ events, snapshot }, { onState, onBye, onSilence }).start();
