/** A waveform on canvases over peaks from the server: seek, scrub, a region to loop, zoom, a timeline. */
import { clock, h } from "./dom.js";

const TIMELINE = 20; // CSS pixels
const EDGE = 7; // CSS pixels on either side of a region's edge in which it can be dragged
const CLICK = 4; // CSS pixels: a shorter drag is a click
const LEAST_REGION = 0.15; // seconds
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200];

/** A time with tenths of a second: `1:05.3`. */
const tenths = (seconds) => `${clock(seconds)}.${Math.floor((Math.max(0, seconds) % 1) * 10)}`;

/** A time as a screen reader says it: `1 minute 5 seconds`. */
export function spokenClock(seconds) {
  const all = Math.floor(Math.max(0, seconds));
  const parts = [[Math.floor(all / 3600), "hour"], [Math.floor((all % 3600) / 60), "minute"], [all % 60, "second"]];
  const said = parts.filter(([n, unit]) => n || (unit === "second" && all < 60));
  return said.map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`).join(" ");
}

/**
 * Draws `{SecondsPerPeak, Duration, Peaks: [min, max, ...]}` in `host`, whose size is its own.
 *
 * `onSeek(seconds)` is called when the user chooses a time; `onRegion([start, end] | null)` when he
 * drags a region, moves one of its edges, or clears it.
 */
export class Waveform {
  #host; #view; #probe; #canvas; #played; #region; #cursor; #hover; #hoverTime; #duration = 0; #peaks = null;
  #secondsPerPeak = 0.02; #time = 0; #span = null; #known = 0; #zoom = 1; #start = 0; #drag = null;
  #observer; #scheme; #frame = 0; #onSeek; #onRegion; #width = 0; #height = 0; #pointer = 0; #said = 0;

  constructor(host, { onSeek, onRegion, label = "Position in the recording" }) {
    this.#host = host;
    this.#onSeek = onSeek;
    this.#onRegion = onRegion;
    host.classList.add("waveform");
    this.#canvas = h("canvas", { class: "waveform-canvas" });
    this.#played = h("canvas", { class: "waveform-canvas" });
    this.#region = h("div", { class: "waveform-region", hidden: true });
    this.#cursor = h("div", { class: "waveform-cursor" });
    this.#hoverTime = h("span", { class: "waveform-hover-time numbers" });
    this.#hover = h("div", { class: "waveform-hover", hidden: true }, this.#hoverTime);
    this.#probe = h("span", { hidden: true });
    const parts = [this.#canvas, this.#played, this.#region, this.#hover, this.#cursor, this.#probe];
    for (const part of parts) part.setAttribute("aria-hidden", "true");
    this.#view = h(
      "div",
      { class: "waveform-view", tabIndex: 0, role: "slider", "aria-label": label, "aria-valuemin": "0" },
      ...parts,
    );
    host.append(this.#view);
    this.#listen();
    this.#observer = new ResizeObserver(() => this.#draw());
    this.#observer.observe(this.#view);
    this.#scheme = matchMedia("(prefers-color-scheme: dark)");
    this.#scheme.addEventListener("change", this.#draw);
    this.#schemeSwitch.observe(document.documentElement, { attributes: true });
    this.#say();
  }

  #schemeSwitch = new MutationObserver(() => this.#draw());

  destroy() {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#schemeSwitch.disconnect();
    this.#scheme.removeEventListener("change", this.#draw);
    this.#host.replaceChildren();
  }

  get duration() { return this.#duration; }
  get region() { return this.#span; }
  get zoom() { return this.#zoom; }
  /** The seconds that are in view. */
  get view() { return [this.#start, this.#start + this.#shown]; }

  setPeaks({ SecondsPerPeak, Duration, Peaks }) {
    this.#peaks = Int8Array.from(Peaks);
    this.#secondsPerPeak = SecondsPerPeak;
    this.setDuration(Duration);
  }

  setDuration(seconds) {
    if (!(seconds > 0)) return;
    this.#duration = seconds;
    this.#view.setAttribute("aria-valuemax", seconds.toFixed(1));
    this.#clamp();
    this.#say();
    this.#draw();
  }

  /** How far the transcript reaches: what is beyond is drawn paler. `Infinity` when it is whole. */
  setKnown(seconds) {
    this.#known = seconds;
    this.#draw();
  }

  /** Where playback is. While it plays, a zoomed view turns its page when the cursor leaves it. */
  setTime(seconds, playing = false) {
    const jumped = Math.abs(seconds - this.#time) > 1;
    this.#time = seconds;
    if (playing && this.#zoom > 1 && !this.#drag) {
      if (seconds < this.#start || seconds > this.#start + this.#shown) {
        this.#start = seconds - this.#shown * 0.1;
        this.#clamp();
        this.#draw();
      }
    }
    this.#place();
    // A screen reader reads each change out while the slider has the focus: there only a seek is one.
    const least = !playing || jumped ? 0 : document.activeElement === this.#view ? Infinity : 1;
    if (Math.abs(seconds - this.#said) >= least) this.#say();
  }

  setRegion(span) {
    this.#span = span;
    this.#place();
  }

  /** Zoom so that `seconds` stays where it is (or comes to the middle, if it is out of view). */
  setZoom(zoom, seconds = this.#time) {
    const most = Math.max(1, this.#duration / 2);
    const before = this.#shown;
    const share = (seconds - this.#start) / before;
    this.#zoom = Math.min(most, Math.max(1, zoom));
    this.#start = seconds - this.#shown * (share >= 0 && share <= 1 ? share : 0.5);
    this.#clamp();
    this.#draw();
  }

  get #shown() { return this.#duration / this.#zoom; }
  #x(seconds) { return ((seconds - this.#start) / this.#shown) * this.#width; }
  #seconds(x) {
    return Math.min(this.#duration, Math.max(0, this.#start + (x / this.#width) * this.#shown));
  }
  #clamp() { this.#start = Math.min(this.#duration - this.#shown, Math.max(0, this.#start)); }

  #say() {
    this.#said = this.#time;
    this.#view.setAttribute("aria-valuenow", this.#time.toFixed(1));
    this.#view.setAttribute("aria-valuetext", `${spokenClock(this.#time)} of ${spokenClock(this.#duration)}`);
  }

  // A burst of changes is drawn once, with the next frame.
  #draw = () => {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  };

  #paint() {
    const ratio = devicePixelRatio || 1;
    this.#width = this.#view.clientWidth;
    this.#height = this.#view.clientHeight;
    if (!this.#width || !this.#height) return;
    // Variables may hold light-dark(), which only a property's computed value resolves.
    const colour = (name) => {
      this.#probe.style.color = `var(${name})`;
      return getComputedStyle(this.#probe).color;
    };
    for (const canvas of [this.#canvas, this.#played]) {
      canvas.width = Math.round(this.#width * ratio);
      canvas.height = Math.round(this.#height * ratio);
    }
    const base = this.#canvas.getContext("2d");
    const top = this.#played.getContext("2d");
    base.scale(ratio, ratio);
    top.scale(ratio, ratio);
    if (this.#duration) this.#paintTimeline(base, colour("--wave-line"), colour("--wave-text"));
    if (this.#peaks && this.#duration) {
      const edge = this.#known === Infinity ? Infinity : this.#x(this.#known);
      const [known, unknown, played] = ["--wave-known", "--wave-unknown", "--wave-played"].map(colour);
      this.#paintPeaks(base, (x) => (x < edge ? known : unknown));
      this.#paintPeaks(top, () => played);
    }
    this.#place();
    if (!this.#hover.hidden) this.#show(this.#pointer);
  }

  #paintPeaks(context, fill) {
    const bar = 2, gap = 1;
    const middle = (this.#height - TIMELINE) / 2;
    const half = middle - 2;
    const last = this.#peaks.length / 2 - 1;
    let before = null;
    for (let x = 0; x < this.#width; x += bar + gap) {
      const from = Math.floor((this.#start + (x / this.#width) * this.#shown) / this.#secondsPerPeak);
      const next = (this.#start + ((x + bar + gap) / this.#width) * this.#shown) / this.#secondsPerPeak;
      const to = Math.min(last, Math.max(from, Math.ceil(next) - 1));
      let low = 0, high = 0;
      for (let peak = Math.max(0, from); peak <= to; peak++) {
        low = Math.min(low, this.#peaks[2 * peak]);
        high = Math.max(high, this.#peaks[2 * peak + 1]);
      }
      // The root makes quiet speech visible beside loud speech.
      const up = Math.max(0.5, Math.sqrt(high / 127) * half);
      const down = Math.max(0.5, Math.sqrt(-low / 128) * half);
      const now = fill(x);
      if (now !== before) context.fillStyle = before = now;
      context.fillRect(x, middle - up, bar, up + down);
    }
  }

  #paintTimeline(context, line, text) {
    const top = this.#height - TIMELINE;
    const least = (this.#shown / this.#width) * 70;
    const step = STEPS.find((seconds) => seconds >= least) ?? 3600 * Math.ceil(least / 3600);
    context.strokeStyle = context.fillStyle = line;
    context.fillRect(0, top, this.#width, 1);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (let tick = Math.floor(this.#start / step) * step; tick <= this.#start + this.#shown; tick += step) {
      const x = this.#x(tick);
      context.fillStyle = line;
      context.fillRect(x, top, 1, 6);
      context.fillStyle = text;
      const label = clock(tick);
      if (x + 4 + context.measureText(label).width <= this.#width) context.fillText(label, x + 4, top + 11);
    }
  }

  #place() {
    if (!this.#width || !this.#duration) return;
    const x = Math.min(this.#width, Math.max(0, this.#x(this.#time)));
    this.#played.style.clipPath = `inset(0 ${this.#width - x}px 0 0)`;
    this.#cursor.hidden = this.#x(this.#time) < -1 || this.#x(this.#time) > this.#width + 1;
    this.#cursor.style.transform = `translateX(${Math.min(this.#width - 2, x)}px)`;
    this.#region.hidden = !this.#span;
    if (this.#span) {
      const [from, to] = this.#span.map((seconds) => this.#x(seconds));
      this.#region.hidden = to < 0 || from > this.#width;
      const left = Math.max(-10, from);
      this.#region.style.transform = `translateX(${left}px)`;
      this.#region.style.width = `${Math.max(1, Math.min(this.#width + 10, to) - left)}px`;
    }
  }

  #edge(x) {
    if (!this.#span) return -1;
    return this.#span.findIndex((seconds) => Math.abs(this.#x(seconds) - x) <= EDGE);
  }

  #listen() {
    const view = this.#view;
    const at = (event) => {
      const box = view.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    view.addEventListener("focus", () => this.#say());
    view.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.#duration) return;
      const [x, y] = at(event);
      const edge = this.#edge(x);
      const kind = y > this.#height - TIMELINE ? "scrub" : edge >= 0 ? "edge" : "region";
      this.#drag = { kind, x, from: this.#seconds(x), moved: false, other: edge >= 0 ? this.#span[1 - edge] : 0 };
      view.setPointerCapture(event.pointerId);
      if (kind === "scrub") this.#onSeek(this.#seconds(x));
    });
    view.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      this.#show(x);
      const drag = this.#drag;
      if (!drag) {
        view.style.cursor = y > this.#height - TIMELINE ? "ew-resize" : this.#edge(x) >= 0 ? "col-resize" : "";
        return;
      }
      drag.moved ||= Math.abs(x - drag.x) > CLICK;
      if (!drag.moved) return;
      if (drag.kind === "scrub") this.#onSeek(this.#seconds(x));
      else {
        const ends = [drag.kind === "edge" ? drag.other : drag.from, this.#seconds(x)];
        this.setRegion([Math.min(...ends), Math.max(...ends)]);
      }
    });
    const release = (event) => {
      const drag = this.#drag;
      this.#drag = null;
      if (!drag || event.type === "pointercancel") return;
      const x = at(event)[0];
      if (drag.kind === "scrub") return;
      if (!drag.moved) this.#onSeek(this.#seconds(x));
      else {
        const [start, end] = this.#span ?? [0, 0];
        if (end - start < LEAST_REGION) this.setRegion(null);
        this.#onRegion(this.#span);
      }
    };
    view.addEventListener("pointerup", release);
    view.addEventListener("pointercancel", release);
    view.addEventListener("pointerleave", () => { this.#hover.hidden = true; });
    view.addEventListener("dblclick", () => {
      this.setRegion(null);
      this.#onRegion(null);
    });
    view.addEventListener("wheel", (event) => {
      if (!this.#duration) return;
      if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        this.setZoom(this.#zoom * Math.exp(-event.deltaY / 200), this.#seconds(at(event)[0]));
      } else if (this.#zoom > 1 && (event.deltaX || event.shiftKey)) {
        event.preventDefault();
        this.#start += ((event.deltaX || event.deltaY) / this.#width) * this.#shown;
        this.#clamp();
        this.#draw();
      }
      this.#show(at(event)[0]);
    }, { passive: false });
    view.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const to = {
        Home: 0, End: this.#duration, PageUp: this.#time - 30, PageDown: this.#time + 30,
        ArrowLeft: this.#time - 5, ArrowDown: this.#time - 5, ArrowRight: this.#time + 5, ArrowUp: this.#time + 5,
      }[event.key];
      if (event.key === "+" || event.key === "-") this.setZoom(this.#zoom * (event.key === "+" ? 1.5 : 1 / 1.5));
      else if (to === undefined) return;
      else this.#onSeek(Math.min(this.#duration, Math.max(0, to)));
      event.preventDefault();
    });
  }

  #show(x) {
    if (!this.#duration || x < 0 || x > this.#width) return;
    this.#pointer = x;
    this.#hover.hidden = false;
    this.#hover.style.transform = `translateX(${x}px)`;
    this.#hoverTime.textContent = (this.#shown < 600 ? tenths : clock)(this.#seconds(x));
    this.#hover.classList.toggle("left", x > this.#width - 70);
  }
}
