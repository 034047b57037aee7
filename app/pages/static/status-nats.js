// The panels of NATS, one for each cluster.
import { make, makeSpark, makeTimeline, setAttribute, setText } from "./status-draw.js";
import * as words from "./status-words.js";

const NATS = {
  up: { level: "well", text: "connected" },
  partly: { level: "warn", text: "some workers are connected" },
  down: { level: "bad", text: "not connected" },
};
const STEP_WORDS = { up: "connected", partly: "some workers connected", down: "away", unknown: "not known" };
const LONG_NAME = 40; // characters

export class NatsPanels {
  #panels;
  #blank; // a copy of the panel of the page, without any numbers

  constructor(section) {
    this.#blank = section.cloneNode(true);
    this.#panels = [new NatsPanel(section)];
  }

  /** If there are several clusters, each heading has the name of one. */
  show({ nats, other_nats: others = [], time, step }) {
    const clusters = [nats, ...others];
    while (this.#panels.length < clusters.length) this.#add();
    while (this.#panels.length > clusters.length) this.#panels.pop().element.remove();
    clusters.forEach((cluster, at) => {
      this.#panels[at].show(cluster, { heading: others.length ? `NATS: ${cluster.name}` : "NATS", time, step });
    });
  }

  #add() {
    const number = this.#panels.length;
    const section = this.#blank.cloneNode(true);
    const panel = new NatsPanel(section);
    for (const element of [section, ...section.querySelectorAll("[id]")]) element.id = `${element.id}-${number}`;
    section.setAttribute("aria-labelledby", `nats-heading-${number}`);
    this.#panels.at(-1).element.after(section);
    this.#panels.push(panel);
  }
}

class NatsPanel {
  #parts; // by the ids that they have in the page
  #trips = makeSpark(120, 20);
  #timeline = makeTimeline();

  constructor(element) {
    this.element = element;
    this.#parts = Object.fromEntries([...element.querySelectorAll("[id]")].map((part) => [part.id, part]));
    this.#parts["round-trip-drawing"].append(this.#trips.element);
    this.#parts.timeline.append(this.#timeline.element);
  }

  show(nats, { heading, time, step }) {
    const parts = this.#parts;
    setText(parts["nats-heading"], heading);
    showBadge(parts["nats-badge"], nats);
    setText(parts["round-trip"], words.writeDuration(nats.round_trip));
    setText(parts.reconnects, words.writeCount(nats.reconnects));
    this.#trips.show(nats.timeline.map(({ round_trip: trip }) => trip));
    showServers(parts["nats-servers"], nats.servers);
    setText(parts["timeline-words"], words.describeTimeline({ time, step, nats }));
    const end = words.findEnd({ time, step });
    this.#timeline.show(nats.timeline, (one, at) => describeStep(one, end - (nats.timeline.length - at) * step));
  }
}

function showBadge(badge, nats) {
  const { level, text } = NATS[nats.state];
  setAttribute(badge, "data-level", level);
  setAttribute(badge.querySelector("use"), "href", `#icon-${level}`);
  const reason = nats.reason && nats.reason !== "not connected to NATS" ? `: ${nats.reason}` : "";
  setText(badge.querySelector("span"), text + reason);
}

function describeStep({ state, round_trip: trip }, start) {
  return `${words.writeClock(start)}: ${STEP_WORDS[state]}${trip === null ? "" : `, ${words.writeDuration(trip)}`}`;
}

function showServers(list, servers) {
  const key = JSON.stringify(servers);
  if (list.dataset.shown === key) return;
  list.dataset.shown = key;
  const items = servers.map(({ name, version, cluster, address }) => {
    const about = [`NATS ${version}`, cluster && `cluster ${cluster}`, address].filter(Boolean).join(" · ");
    return make("li", {}, make("strong", { title: name }, shorten(name)), make("span", { class: "where" }, about));
  });
  list.replaceChildren(...(items.length ? items : [make("li", { class: "faint" }, "No server is connected.")]));
}

/** Shortens a name that a server has made up: a key of 56 characters tells people nothing. */
function shorten(name) {
  return name.length > LONG_NAME ? `${name.slice(0, 4)}…${name.slice(-4)}` : name;
}
