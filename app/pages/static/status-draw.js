// Elements, drawings, and numbers that move.
import { LEVEL_WORDS } from "./status-words.js";

const SVG = "http://www.w3.org/2000/svg";
const calm = matchMedia("(prefers-reduced-motion: reduce)");
const GLIDE = 600; // milliseconds in which a number moves to its next value
const BARS = { up: 36, partly: 22, down: 8, unknown: 2 }; // heights, so that a state shows without its colour too
const BAR_SPACE = 40;

export const find = (id) => document.getElementById(id);

/** An element with attributes and children; a string becomes text, never markup. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A cell of a table, with its label for a row that is shown as a card. */
export const makeCell = (name, label, ...children) =>
  make("td", { role: "cell", class: name, "data-label": label }, ...children);

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Changes the page only if the text differs. */
export function setText(element, text) {
  const node = element.firstChild;
  if (node?.nodeType !== Node.TEXT_NODE || node !== element.lastChild) element.textContent = text;
  else if (node.data !== text) node.data = text;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

export function setHidden(element, isHidden) {
  if (element.hidden !== isHidden) element.hidden = isHidden;
}

/** An icon of a level, with a word for people who listen to the page. */
export function makeMark() {
  const use = draw("use", { href: "#icon-idle" });
  const word = make("span", { class: "unseen" }, "");
  const show = (level) => {
    setAttribute(use, "href", `#icon-${level}`);
    setText(word, LEVEL_WORDS[level]);
  };
  return { nodes: [draw("svg", { class: "icon", "aria-hidden": "true" }, use), word], show };
}

/** The points of a line from left to right. The line has a gap at each unknown value. */
function findRuns(values, width, height) {
  const top = Math.max(...values) || 1;
  const step = width / (values.length - 1 || 1);
  const runs = [[]];
  values.forEach((value, at) => {
    if (value === null) runs.push([]);
    else runs.at(-1).push([(at * step).toFixed(1), (height - 1 - (value / top) * (height - 3)).toFixed(1)]);
  });
  return runs.filter((run) => run.length);
}

/** A line of numbers, the oldest first. The text beside it says the same. */
export function makeSpark(width, height) {
  const line = draw("path", { class: "line" });
  const area = draw("path", { class: "area" });
  const box = {
    class: "sparkline",
    viewBox: `0 0 ${width} ${height}`,
    preserveAspectRatio: "none",
    "aria-hidden": "true",
  };
  const show = (values) => {
    const runs = findRuns(values, width, height);
    const path = runs.map((run) => `M${run.join("L")}`).join("");
    if (line.getAttribute("d") === path) return;
    line.setAttribute("d", path);
    area.setAttribute("d", runs.map((run) => `M${run[0][0]} ${height}L${run.join("L")}V${height}Z`).join(""));
  };
  return { element: draw("svg", box, area, line), show };
}

/** A bar that is full at 1. */
export function makeGauge() {
  const bar = draw("rect", { class: "bar", height: 6, width: 0 });
  const box = { class: "gauge", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" };
  const show = (share) =>
    setAttribute(bar, "width", share > 0 ? Math.max(1, Math.min(100, share * 100)).toFixed(1) : 0);
  return { element: draw("svg", box, draw("rect", { class: "track", width: 100, height: 6 }), bar), show };
}

/** One bar for each step. A caption says the same in words. `describe` returns the text of the bar under the pointer. */
export function makeTimeline() {
  const element = draw("svg", { class: "timeline", preserveAspectRatio: "none", "aria-hidden": "true" });
  const show = (steps, describe) => {
    setAttribute(element, "viewBox", `0 0 ${steps.length * 5} ${BAR_SPACE}`);
    while (element.childElementCount < steps.length) element.append(draw("rect", { width: 3.4, rx: 1 }, draw("title")));
    while (element.childElementCount > steps.length) element.lastChild.remove();
    steps.forEach((step, at) => showBar(element.children[at], step.state, at, describe(step, at)));
  };
  return { element, show };
}

function showBar(bar, state, at, words) {
  const height = BARS[state];
  setAttribute(bar, "x", at * 5 + 0.8);
  setAttribute(bar, "y", BAR_SPACE - height);
  setAttribute(bar, "height", height);
  setAttribute(bar, "data-state", state);
  setText(bar.firstChild, words);
}

/** Lets a number glide to its next value, unless the reader's system asks for less motion. */
export function makeNumber(element, write) {
  let shown = null;
  let frame = 0;
  return (value) => {
    cancelAnimationFrame(frame);
    const [from, start] = [shown, performance.now()];
    const move = (now) => {
      const part = from === null || calm.matches ? 1 : Math.min(1, Math.max(0, now - start) / GLIDE);
      shown = part === 1 ? value : from + (value - from) * (1 - (1 - part) ** 3);
      setText(element, write(shown));
      if (part < 1) frame = requestAnimationFrame(move);
    };
    move(start);
  };
}

/** Makes `nodes` the children of `parent`, and moves as few of them as possible. */
export function arrange(parent, nodes) {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let next = parent.firstElementChild;
  for (const node of nodes) {
    if (node === next) next = next.nextElementSibling;
    else parent.insertBefore(node, next);
  }
}
