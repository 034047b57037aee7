// The table of routes: trouble first, sortable, filterable. It is quick even with a thousand rows: only rows in sight
// are kept up to date, and others when they come into sight.
import { arrange, find, make, makeCell, makeMark, makeSpark, setAttribute, setHidden, setText } from "./status-draw.js";
import { RANK, countOf, judgeRoute, writeCount, writeDuration, writeRate, writeShare } from "./status-words.js";

const FIRST = 100; // rows, until the reader wants all
const MARGIN = "200px"; // around the window: rows there count as in sight
const REST = 10000; // milliseconds in which rows keep their places, as long as their levels stay
const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const byNumber = (key) => (a, b) => (b[key] ?? -1) - (a[key] ?? -1);
const ORDERS = {
  trouble: (a, b) => RANK[judgeRoute(b)] - RANK[judgeRoute(a)] || b.rate - a.rate,
  name: byName,
  ...Object.fromEntries(["rate", "failing", "p50", "p95", "p99"].map((key) => [key, byNumber(key)])),
};

/** The row of one route. `show` touches only the parts that changed. */
const KINDS = { gather: "many replies", publish: "publishes", store: "stores", subscribe: "stream" };

class Row {
  isInSight = false;
  #root;
  #route = null;
  #mark = makeMark();
  #spark = makeSpark(120, 28);
  #name = make("strong");
  #where = make("span", { class: "where" });
  #failing = make("span");
  #cause = make("span", { class: "cause" });
  #cells = {};

  constructor(root) {
    this.#root = root;
    for (const key of ["rate", "p50", "p95", "p99"]) this.#cells[key] = makeCell(`${key} amount`, key);
    this.element = make(
      "tr",
      { role: "row" },
      makeCell("trouble", "state", ...this.#mark.nodes),
      make("th", { scope: "row", role: "rowheader", class: "name" }, this.#name, this.#where),
      this.#cells.rate,
      makeCell("failing amount", "failing", this.#failing, this.#cause),
      this.#cells.p50,
      this.#cells.p95,
      this.#cells.p99,
      makeCell("spark", "last 5 min", this.#spark.element),
    );
  }

  show(route) {
    if (route === this.#route) return;
    const level = judgeRoute(route);
    setAttribute(this.element, "data-level", level);
    this.#mark.show(level);
    if (route.name !== this.#route?.name || route.path !== this.#route?.path) this.#showName(route);
    setText(this.#cells.rate, writeRate(route.rate));
    for (const key of ["p50", "p95", "p99"]) setText(this.#cells[key], writeDuration(route[key]));
    setText(this.#failing, writeShare(route.failing));
    setAttribute(this.#failing, "class", route.failing ? "" : "faint");
    this.#showCause(route);
    this.#spark.show(route.spark);
    this.#route = route;
  }

  #showName({ name, methods, path, subject, kind, nats }) {
    setText(this.#name, name);
    const target = make("span", { class: "subject" }, ` → ${subject}`);
    const cluster = nats ? make("span", { class: "kind" }, ` NATS ${nats}`) : "";
    const what = KINDS[kind] ? make("span", { class: "kind" }, ` ${KINDS[kind]}`) : "";
    this.#where.replaceChildren(make("span", { class: "method" }, methods.join(" ")), ` ${path}`, target, cluster, what);
  }

  #showCause({ slug, answered, refused }) {
    if (slug === this.#route?.slug && slug !== null) return;
    if (slug !== null)
      this.#cause.replaceChildren(make("a", { href: `${this.#root}/problems/${encodeURIComponent(slug)}` }, slug));
    else
      setText(
        this.#cause,
        answered === false ? "nobody answers" : refused >= 0.001 ? `${writeShare(refused)} refused` : "",
      );
  }
}

export class Routes {
  #root;
  #rows = new Map(); // by name: the Row of each route that has ever been shown
  #owners = new WeakMap(); // by element: the name of its route
  #sight = new IntersectionObserver((entries) => entries.forEach((entry) => this.#see(entry)), { rootMargin: MARGIN });
  #routes = new Map();
  #order = []; // of all routes that pass the filter
  #sort = { key: "trouble", isReversed: false };
  #isAll = false;
  #arranged = 0; // when the rows last took their places
  #levels = "";

  constructor(root) {
    this.#root = root;
    find("routes-filter").addEventListener("input", () => this.#arrange());
    find("routes-more").addEventListener("click", () => this.#toggleAll());
    for (const button of document.querySelectorAll("[data-sort]"))
      button.addEventListener("click", () => this.#sortBy(button.dataset.sort));
    this.#showSort();
  }

  /** `routes` is a Map of all routes by name. */
  show(routes) {
    this.#routes = routes;
    const levels = [...routes.values()].map((route) => route.name + RANK[judgeRoute(route)]).join();
    const isDue = levels !== this.#levels || performance.now() - this.#arranged > REST;
    if (this.#arranged === 0 || (isDue && !this.#isInUse())) {
      this.#levels = levels;
      this.#arrange();
    } else this.#showRows();
  }

  /** Rows under the pointer or the keyboard focus keep their places. */
  #isInUse() {
    const body = find("routes");
    return body.matches(":focus-within") || (matchMedia("(hover: hover)").matches && body.matches(":hover"));
  }

  #arrange() {
    const wanted = find("routes-filter").value.trim().toLowerCase();
    const { key, isReversed } = this.#sort;
    const sign = isReversed ? -1 : 1;
    this.#order = [...this.#routes.values()]
      .filter((route) => wanted === "" || matches(route, wanted))
      .sort((a, b) => sign * ORDERS[key](a, b) || byName(a, b))
      .map(({ name }) => name);
    this.#arranged = performance.now();
    this.#showRows();
    this.#showEnd(wanted);
  }

  #showRows() {
    const shown = this.#order.slice(0, this.#isAll ? undefined : FIRST).filter((name) => this.#routes.has(name));
    for (const name of this.#rows.keys()) if (!this.#routes.has(name)) this.#forget(name);
    const rows = shown.map((name) => this.#rows.get(name) ?? this.#makeRow(name));
    rows.forEach((row, at) => row.isInSight && row.show(this.#routes.get(shown[at])));
    arrange(
      find("routes"),
      rows.map(({ element }) => element),
    );
  }

  #makeRow(name) {
    const row = new Row(this.#root);
    row.show(this.#routes.get(name));
    this.#rows.set(name, row);
    this.#owners.set(row.element, name);
    this.#sight.observe(row.element);
    return row;
  }

  #forget(name) {
    this.#sight.unobserve(this.#rows.get(name).element);
    this.#rows.delete(name);
  }

  #see({ target, isIntersecting }) {
    const name = this.#owners.get(target);
    const row = this.#rows.get(name);
    if (!row || !this.#routes.has(name)) return;
    row.isInSight = isIntersecting;
    if (isIntersecting) row.show(this.#routes.get(name));
  }

  #showEnd(wanted) {
    const [count, total] = [this.#order.length, this.#routes.size];
    setText(
      find("routes-count"),
      total === 0 ? "" : wanted ? `${writeCount(count)} of ${writeCount(total)}` : writeCount(total),
    );
    setHidden(find("routes-filter"), total === 0);
    setHidden(find("routes-table"), count === 0);
    setHidden(find("routes-empty"), count !== 0);
    setText(find("routes-empty"), total === 0 ? "The gateway has no routes." : "No route matches the filter.");
    setHidden(find("routes-more"), count <= FIRST);
    setText(find("routes-more"), this.#isAll ? `Show the first ${FIRST}` : `Show all ${countOf(count, "route")}`);
  }

  #toggleAll() {
    this.#isAll = !this.#isAll;
    this.#arrange();
  }

  #sortBy(key) {
    this.#sort = { key, isReversed: this.#sort.key === key && !this.#sort.isReversed };
    this.#showSort();
    this.#arrange();
  }

  #showSort() {
    const { key, isReversed } = this.#sort;
    for (const button of document.querySelectorAll("[data-sort]")) {
      const isAscending = (button.dataset.sort === "name") !== isReversed;
      const header = button.parentElement;
      if (button.dataset.sort === key) header.setAttribute("aria-sort", isAscending ? "ascending" : "descending");
      else header.removeAttribute("aria-sort");
    }
  }
}

function matches({ name, methods, path, subject, kind, nats, services, slug }, wanted) {
  return [name, ...methods, path, subject, nats ?? "", KINDS[kind] ?? "", ...services, slug ?? ""].join(" ").toLowerCase().includes(wanted);
}
