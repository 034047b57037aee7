// Gets the numbers: by events, or by polling if events fail.

const QUIET = 4000; // milliseconds without an event; usually one comes each second
const SHORT_PAUSE = 500; // after the first poll, so that silence shows at once
const PAUSE = 2000; // between later polls
const PATIENCE = 5000; // for the answer to a poll
const AGAIN = 15000; // until events are tried again

const sleep = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Calls `onState(state, how)`, `onBye()` if the gateway stops, and `onSilence()` each time that it does not answer. */
export class Feed {
  #addresses;
  #listener;
  #source = null;
  #quiet = 0;
  #again = 0;
  #poll = null; // the current poll, if any

  constructor(addresses, listener) {
    this.#addresses = addresses;
    this.#listener = listener;
  }

  start() {
    if (!("EventSource" in window)) return this.#startPoll();
    this.#source = new EventSource(this.#addresses.events);
    this.#source.addEventListener("state", (event) => this.#hear(event));
    this.#source.addEventListener("bye", () => this.#listener.onBye());
    this.#source.addEventListener("error", () => this.#doubt());
    this.#watch();
  }

  #hear(event) {
    this.#poll = null;
    this.#watch();
    this.#listener.onState(JSON.parse(event.data), "live");
  }

  /** A dead connection gives no sign, so silence must be noticed. */
  #watch() {
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => {
      this.#source.close();
      this.#doubt();
    }, QUIET);
  }

  /** An EventSource reconnects by itself, unless it is closed. Meanwhile polls find out whether the gateway answers. */
  #doubt() {
    clearTimeout(this.#quiet);
    this.#startPoll();
    if (this.#source.readyState !== EventSource.CLOSED) return;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.start(), AGAIN);
  }

  async #startPoll() {
    if (this.#poll !== null) return;
    const mine = (this.#poll = {});
    for (let pause = SHORT_PAUSE; this.#poll === mine; pause = Math.min(PAUSE, 2 * pause)) {
      const state = await this.#ask();
      if (this.#poll !== mine) return;
      if (state === null) this.#listener.onSilence();
      else this.#listener.onState(state, "polling");
      await sleep(pause);
    }
  }

  async #ask() {
    try {
      const answer = await fetch(this.#addresses.snapshot, {
        cache: "no-store",
        signal: AbortSignal.timeout(PATIENCE),
      });
      const text = await answer.text(); // an unread body would cause a reset
      return answer.ok ? JSON.parse(text) : null;
    } catch {
      return null;
    }
  }
}
