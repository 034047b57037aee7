// Numbers, times and states in words. Pure.

const NARROW_SPACE = "\u202f";
const NONE = "–";
const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const TROUBLE = 0.01; // share of responses from which a route has trouble
const GRAVE = 0.1; // share from which the trouble is grave
const HALF = 0.5; // share of all responses from which it is as bad as a missing NATS
const NAMED = 3; // routes in the headline

/** How grave each level is. */
export const RANK = { idle: 0, well: 0, warn: 1, bad: 2 };
export const LEVEL_WORDS = { idle: "no requests", well: "well", warn: "some fail", bad: "in trouble" };

const join = (number, unit) => number + NARROW_SPACE + unit;

/** About three digits, and at most one after the point. */
function writeNumber(value) {
  return value > 0 && value < 9.95 ? value.toFixed(1) : WHOLE.format(value);
}

export const writeCount = (value) => (value === null ? NONE : WHOLE.format(value));

export function writeRate(value) {
  if (value > 0 && value < 0.05) return join("< 0.1", "/s");
  return join(writeNumber(value), "/s");
}

export function writeShare(share) {
  if (share > 0 && share < 0.001) return join("< 0.1", "%");
  return join(share < 1 ? writeNumber(Math.min(share * 100, 99.9)) : "100", "%");
}

/** Seconds as people write them: 0.42 ms, 12 ms, 1.2 s. */
export function writeDuration(seconds) {
  if (seconds === null || seconds === undefined) return NONE;
  if (seconds < 0.0995) return join(seconds < 0.001 ? (seconds * 1000).toFixed(2) : writeNumber(seconds * 1000), "ms");
  if (seconds < 0.9995) return join(WHOLE.format(seconds * 1000), "ms");
  return join(seconds < 9.95 ? seconds.toFixed(1) : WHOLE.format(seconds), "s");
}

/** The two greatest units of a time: 3 d 4 h. */
export function writeSpan(seconds) {
  const total = Math.max(0, Math.round(seconds));
  const parts = [
    [Math.floor(total / 86400), "d"],
    [Math.floor(total / 3600) % 24, "h"],
    [Math.floor(total / 60) % 60, "min"],
    [total % 60, "s"],
  ];
  const first = Math.max(
    0,
    parts.findIndex(([count]) => count > 0),
  );
  const shown = total === 0 ? parts.slice(3) : parts.slice(first, first + 2).filter(([count]) => count > 0);
  return shown.map(([count, unit]) => join(count, unit)).join(" ");
}

/** The time of day, in the time zone of the reader. */
export const writeClock = (seconds) => CLOCK.format(seconds * 1000);

export const countOf = (count, one, many = `${one}s`) => `${WHOLE.format(count)} ${count === 1 ? one : many}`;

export function judgeRoute(route) {
  if (route.answered === false || route.failing >= GRAVE) return "bad";
  if (route.failing >= TROUBLE) return "warn";
  return route.answered === null && route.rate === 0 ? "idle" : "well";
}

/** The parts of a timeline in which NATS was not up, as {state, start, end} in steps. */
function findGaps(timeline) {
  const gaps = [];
  timeline.forEach(({ state }, at) => {
    if (state !== "down" && state !== "partly") return;
    const last = gaps.at(-1);
    if (last && last.end === at && last.state === state) last.end = at + 1;
    else gaps.push({ state, start: at, end: at + 1 });
  });
  return gaps;
}

/** The time at which the last step of a timeline ends. Steps are the same in all workers. */
export const findEnd = ({ time, step }) => Math.ceil(time / step) * step;

/** The timeline in words, for people who cannot see it. */
export function describeTimeline({ time, step, nats }) {
  const { timeline } = nats;
  const gaps = findGaps(timeline);
  const known = timeline.filter(({ state }) => state !== "unknown").length;
  if (known === 0) return "Nothing is known yet.";
  const span = writeSpan(known * step);
  if (gaps.length === 0) return `NATS was connected for all of the last ${span}.`;
  const end = findEnd({ time, step });
  const told = gaps.map(({ state, start, end: last }) => {
    const from = end - (timeline.length - start) * step;
    const how = state === "down" ? "away" : "away from some workers";
    return `${how} for ${writeSpan((last - start) * step)} from about ${writeClock(from)}`;
  });
  return `In the last ${span} NATS was ${told.join("; ")}.`;
}

function describeAway(nats, time, name) {
  const text = `${name} has been away since ${writeClock(nats.since ?? time)}`;
  return { level: "bad", kind: `${name} away`, text, detail: nats.reason ?? "" };
}

/** What is wrong with NATS, or null. If there are several clusters, it says which one. */
function judgeNats({ nats, other_nats: others = [], time, ready, reason }) {
  const clusters = [nats, ...others];
  const away = clusters.filter(({ state }) => state === "down");
  if (away.length === clusters.length) return describeAway(nats, time, "NATS");
  if (!ready) return { level: "bad", kind: "not ready", text: "The gateway is not ready", detail: reason ?? "" };
  const nameOf = ({ name }) => (others.length ? `NATS ${name}` : "NATS");
  if (away.length) return describeAway(away[0], time, nameOf(away[0]));
  const partly = clusters.find(({ state }) => state === "partly");
  if (partly === undefined) return null;
  const text = `${nameOf(partly)} is away from some workers`;
  return { level: "warn", kind: `${nameOf(partly)} partly`, text, detail: partly.reason ?? "" };
}

function listNames(routes) {
  const names = routes
    .slice(0, NAMED)
    .map(({ name }) => name)
    .join(", ");
  return routes.length > NAMED ? `${names} and ${routes.length - NAMED} more` : names;
}

function describeTrouble(routes, failing) {
  const text = `${countOf(routes.length, "route")} ${routes.length === 1 ? "has" : "have"} trouble: ${listNames(routes)}`;
  const unanswered = routes.filter(({ answered }) => answered === false);
  const detail = unanswered.length ? `Nobody answers ${listNames(unanswered)}.` : "";
  const level = failing >= HALF ? "bad" : "warn";
  return { level, kind: `routes ${level} ${routes.length}`, text, detail: `${detail} NATS is well.`.trim() };
}

function describeWell(snapshot, count) {
  const trip = snapshot.nats.round_trip;
  const nats = trip === null ? "NATS is connected." : `NATS answers in ${writeDuration(trip)}.`;
  return { level: "well", kind: "well", text: "All is well", detail: `${countOf(count, "route")}. ${nats}` };
}

/** The overall state as {level, kind, text, detail}. `kind` changes only if that is worth an announcement.
 *  `routes` are all routes. */
export function judge(snapshot, { routes, isStopping }) {
  const { reason, failing } = snapshot;
  if (isStopping || reason === "shutting down")
    return { level: "warn", kind: "stopping", text: "The gateway is stopping", detail: "It finishes the requests that it has begun." };
  const trouble = judgeNats(snapshot);
  if (trouble !== null) return trouble;
  if (!snapshot.reload.successful)
    return {
      level: "warn",
      kind: "reload",
      text: "The last reload of the route file was refused",
      detail: "The previous routes are still served. The log says what is wrong with the file.",
    };
  const troubled = routes.filter((route) => RANK[judgeRoute(route)] > 0);
  troubled.sort((a, b) => RANK[judgeRoute(b)] - RANK[judgeRoute(a)] || b.rate - a.rate || (a.name < b.name ? -1 : 1));
  if (troubled.length) return describeTrouble(troubled, failing);
  if (failing >= TROUBLE)
    return {
      level: "warn",
      kind: "failing",
      text: `${writeShare(failing)} of responses fail`,
      detail: "NATS is well.",
    };
  return describeWell(snapshot, routes.length);
}
