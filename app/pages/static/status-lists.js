// The latest failures, and the services.
import { arrange, draw, find, make, makeCell, setHidden, setText } from "./status-draw.js";
import { countOf, writeClock, writeCount, writeDuration, writeShare } from "./status-words.js";

const FIRST = 10; // failures, until the reader wants all
const NAMED = 8; // routes of one service
const COPIED = 1500; // milliseconds

async function copy(button, code) {
  try {
    await navigator.clipboard.writeText(code.textContent); // there is no clipboard without HTTPS
    setText(button, "Copied");
    setTimeout(() => setText(button, "Copy"), COPIED);
  } catch {
    getSelection().selectAllChildren(code);
  }
}

function makeId(id) {
  const code = make("code", {}, id);
  const button = make("button", { type: "button", class: "copy", "aria-label": `Copy request id ${id}` }, "Copy");
  button.addEventListener("click", () => copy(button, code));
  return [code, button];
}

function makeProblem(root, { slug, more }) {
  const link = make("a", { href: `${root}/problems/${encodeURIComponent(slug)}` }, slug);
  return more ? [link, " ", make("span", { class: "alike" }, `and ${writeCount(more)} alike`)] : [link];
}

function makeFailure(root, failure) {
  const { time, route, method, status, delivered, duration, request_id: id } = failure;
  const clock = make("time", { datetime: new Date(time * 1000).toISOString() }, writeClock(time));
  const name = route === null ? make("span", { class: "faint" }, "no route") : make("strong", {}, route);
  return make(
    "tr",
    { role: "row" },
    makeCell("time", "time", clock),
    makeCell("route", "route", ...(method === null ? [name] : [make("span", { class: "method" }, method), " ", name])),
    makeCell("status", "status", String(status)),
    makeCell("problem", "problem", ...makeProblem(root, failure)),
    makeCell(`delivered ${delivered}`, "delivered", delivered),
    makeCell("took amount", "took", writeDuration(duration)),
    makeCell("request-id", "request id", ...makeId(id)),
  );
}

const writeHaystack = ({ route, method, status, slug, delivered, request_id: id }) =>
  [route ?? "", method ?? "", status, slug, delivered, id].join(" ").toLowerCase();

export class Failures {
  #root;
  #failures = [];
  #rows = new Map();
  #isAll = false;

  constructor(root) {
    this.#root = root;
    find("failures-filter").addEventListener("input", () => this.#arrange());
    find("failures-more").addEventListener("click", () => {
      this.#isAll = !this.#isAll;
      this.#arrange();
    });
  }

  show(failures) {
    this.#failures = failures;
    this.#arrange();
  }

  #arrange() {
    const wanted = find("failures-filter").value.trim().toLowerCase();
    const found = this.#failures.filter((failure) => writeHaystack(failure).includes(wanted));
    const kept = this.#rows;
    this.#rows = new Map();
    for (const failure of found.slice(0, this.#isAll ? undefined : FIRST)) {
      const key = `${failure.request_id} ${failure.time} ${failure.more}`;
      this.#rows.set(key, kept.get(key) ?? makeFailure(this.#root, failure));
    }
    arrange(find("failures"), [...this.#rows.values()]);
    this.#showEnd(found.length, wanted);
  }

  #showEnd(count, wanted) {
    const total = this.#failures.length;
    setText(find("failures-count"), total === 0 ? "" : wanted ? `${count} of ${total}` : String(total));
    setHidden(find("failures-filter"), total === 0);
    setHidden(find("failures-table"), count === 0);
    setHidden(find("failures-empty"), count !== 0);
    setText(find("failures-empty"), total === 0 ? "No request has failed yet." : "No failure matches the filter.");
    setHidden(find("failures-more"), count <= FIRST);
    setText(find("failures-more"), this.#isAll ? `Show the latest ${FIRST}` : `Show all ${countOf(count, "failure")}`);
  }
}

function makeRoutesOf(routes) {
  if (routes.length === 0) return [make("span", { class: "faint" }, "no route leads here")];
  const named = routes.slice(0, NAMED).map((name) => make("span", { class: "chip" }, name));
  return routes.length > NAMED ? [...named, `and ${routes.length - NAMED} more`] : named;
}

function makeService({ name, version, nats, instances, requests, errors, average, routes }) {
  const errorCell = makeCell("errors amount", "errors", writeCount(errors));
  if (errors > 0 && requests > 0) errorCell.append(make("span", { class: "cause" }, writeShare(errors / requests)));
  return make(
    "tr",
    { role: "row" },
    make(
      "th",
      { scope: "row", role: "rowheader", class: "service" },
      make("strong", {}, name),
      make("span", { class: "where" }, nats ? `${version} NATS ${nats}` : version),
    ),
    makeCell("instances amount", "instances", writeCount(instances)),
    makeCell("requests amount", "requests", writeCount(requests)),
    errorCell,
    makeCell("average amount", "average", writeDuration(average)),
    makeCell("routes", "routes", ...makeRoutesOf(routes)),
  );
}

const EMPTY = "No service answers $SRV. Only services made with a NATS service library do; other services may run too.";

export class Services {
  #services = null;
  #rows = new Map();

  constructor() {
    find("services-filter").addEventListener("input", () => this.#arrange());
  }

  /** `routes` is a Map of all routes by name. `unused` has a text for each thing of services that is not used. */
  show(services, routes, unused) {
    this.#services = services;
    this.#showUnused(unused);
    this.#arrange();
    this.#showUnanswered([...routes.values()].filter(({ answered }) => answered === false));
    const note = [services?.note, services?.cut ? "More services answer than this table has room for." : null];
    setText(find("services-note"), note.filter(Boolean).join(" "));
    setHidden(find("services-note"), !note.some(Boolean));
  }

  #arrange() {
    const wanted = find("services-filter").value.trim().toLowerCase();
    const list = this.#services?.list ?? [];
    const found = list.filter(({ name, nats, routes }) => [name, nats ?? "", ...routes].join(" ").toLowerCase().includes(wanted));
    const kept = this.#rows;
    this.#rows = new Map();
    for (const service of found) {
      const key = JSON.stringify(service);
      this.#rows.set(key, kept.get(key) ?? makeService(service));
    }
    arrange(find("services"), [...this.#rows.values()]);
    this.#showEnd(found.length, list.length);
  }

  #showEnd(count, total) {
    const reason =
      this.#services === null ? "The gateway asks the services now ($SRV)." : this.#services.note ? "" : EMPTY;
    setText(find("services-count"), total ? writeCount(total) : "");
    setHidden(find("services-filter"), total === 0);
    setHidden(find("services-table"), count === 0);
    setText(find("services-empty"), total ? "No service matches the filter." : reason);
    setHidden(find("services-empty"), count !== 0 || (total === 0 && reason === ""));
  }

  #showUnused(texts) {
    const list = find("services-unused");
    if (list.childElementCount !== texts.length || [...list.children].some((item, at) => item.textContent !== texts[at]))
      list.replaceChildren(...texts.map((text) => make("li", {}, text)));
    setHidden(list, texts.length === 0);
  }

  #showUnanswered(routes) {
    const note = find("unanswered");
    setHidden(note, routes.length === 0);
    const names = routes.map(({ name }) => name).sort();
    const key = names.join("\n");
    if (note.dataset.names === key) return;
    note.dataset.names = key;
    const icon = draw("svg", { class: "icon", "aria-hidden": "true" }, draw("use", { href: "#icon-bad" }));
    note.replaceChildren(icon, make("span", {}, "Routes that nobody answers: "), ...makeRoutesOf(names));
  }
}
