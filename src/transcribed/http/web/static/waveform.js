/** A waveform over peaks from the server: seek, drag, a region to loop, zoom, a timeline. */
import { clock, h } from "./dom.js";

const TIMELINE = 20; // CSS pixels at the bottom
const BAR = 3; // CSS pixels, with the gap after it
const GRIP = 7; // CSS pixels on either side of a region's end in which it can be dragged
const CLICK = 4; // CSS pixels: a shorter drag is a click
const LEAST_REGION = 0.15; // seconds
const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 7200]; // seconds between the timeline's marks

const duration = new Intl.DurationFormat("en", { style: "long", secondsDisplay: "always" });

/** A time as a screen reader says it: `1 minute, 5 seconds`. */
export function spokenClock(seconds) {
  const all = Math.floor(Math.max(0, seconds));
  return duration.format({ hours: Math.floor(all / 3600), minutes: Math.floor(all / 60) % 60, seconds: all % 60 });
}

const within = (value, least, most) => Math.max(least, Math.min(most, value));

/**
 * A slider in `host`, drawn as a waveform.
 *
 * `onSeek(seconds)` is called when the user chooses a time; `onRegion([start, end] | null)` when he drags a
 * region, moves one of its ends, or clears it with a double click.
 */
export class Waveform {
  #view; #canvas; #slider; #hover; #observer; #does; #frame = 0; #width = 0; #height = 0;
  #peaks = []; #step = 0.02; #duration = 0; #time = 0; #region = null; #zoom = 1; #start = 0; #drag = null;

  constructor(host, does) {
    this.#does = does;
    this.#canvas = h("canvas");
    this.#hover = h("span", { class: "waveform-hover numbers", hidden: true });
    // Its step is that of the keys for five seconds; Home and End are its own.
    this.#slider = h("input", {
      type: "range", class: "waveform-slider", "aria-label": "Position in the recording", step: "any", max: 0,
      oninput: ({ target }) => does.onSeek(target.valueAsNumber),
    });
    this.#view = h("div", { class: "waveform" }, this.#slider, this.#canvas, this.#hover);
    host.append(this.#view);
    const on = (name, run, options) => this.#view.addEventListener(name, run, options);
    on("pointerdown", (event) => this.#press(event));
    on("pointermove", (event) => this.#move(event));
    on("pointerup", (event) => this.#release(event));
    on("pointercancel", () => { this.#drag = null; });
    on("pointerleave", () => { this.#hover.hidden = true; });
    on("dblclick", () => this.#setRegion(null));
    on("wheel", (event) => this.#wheel(event), { passive: false });
    on("transitionend", () => this.#draw()); // The colours have changed from light to dark, or back.
    this.#observer = new ResizeObserver(() => this.#draw());
    this.#observer.observe(this.#view);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    this.#view.remove();
  }

  get duration() { return this.#duration; }
  get zoom() { return this.#zoom; }

  /** Draw what `GET /audio/{name}/peaks` returns. */
  setPeaks({ SecondsPerPeak, Duration, Peaks }) {
    this.#peaks = Peaks;
    this.#step = SecondsPerPeak;
    this.setDuration(Duration);
  }

  setDuration(seconds) {
    this.#duration = this.#slider.max = seconds;
    this.setTime(this.#time);
  }

  /** Where playback is. While it plays, a zoomed view turns its page when the cursor leaves it. */
  setTime(seconds, playing = false) {
    const seeks = !playing || Math.abs(seconds - this.#time) > 1;
    this.#time = seconds;
    if (playing && !this.#drag && (seconds < this.#start || seconds > this.#start + this.#shown)) this.#scroll(seconds - this.#shown * 0.1);
    // A screen reader reads each change out while the slider has the focus: there only a seek is one.
    if (seeks || (document.activeElement !== this.#slider && Math.abs(seconds - this.#slider.valueAsNumber) > 1)) {
      this.#slider.value = seconds;
      this.#slider.setAttribute("aria-valuetext", `${spokenClock(seconds)} of ${spokenClock(this.#duration)}`);
    }
    this.#draw();
  }

  setRegion(span) {
    this.#region = span;
    this.#draw();
  }

  /** Zoom so that `seconds` stays where it is, or comes to the middle if it is out of view. */
  setZoom(zoom, seconds = this.#time) {
    const share = (seconds - this.#start) / this.#shown;
    this.#zoom = within(zoom, 1, Math.max(1, this.#duration / 2));
    this.#scroll(seconds - this.#shown * (share >= 0 && share <= 1 ? share : 0.5));
  }

  get #shown() { return this.#duration / this.#zoom; }
  #x(seconds) { return ((seconds - this.#start) / this.#shown) * this.#width; }
  #seconds(x) { return within(this.#start + (x / this.#width) * this.#shown, 0, this.#duration); }

  #scroll(start) {
    this.#start = within(start, 0, this.#duration - this.#shown);
    this.#draw();
  }

  // A burst of changes is drawn once, with the next frame.
  #draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #paint() {
    [this.#width, this.#height] = [this.#view.clientWidth, this.#view.clientHeight];
    this.#canvas.width = this.#width * devicePixelRatio;
    this.#canvas.height = this.#height * devicePixelRatio;
    if (!this.#duration || !this.#width) return;
    const context = this.#canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    const style = getComputedStyle(this.#view);
    const colour = (name) => style.getPropertyValue(`--wave-${name}`);
    const bottom = this.#height - TIMELINE;
    const now = this.#x(this.#time);
    const [played, ahead] = [colour("played"), colour("ahead")];
    for (let x = 0; x < this.#width; x += BAR) {
      const [up, down] = this.#heights(x).map((share) => Math.max(0.5, share * (bottom / 2 - 2)));
      context.fillStyle = x < now ? played : ahead;
      context.fillRect(x, bottom / 2 - up, BAR - 1, up + down);
    }
    context.fillStyle = played;
    if (now <= this.#width + 1) context.fillRect(Math.min(now, this.#width - 2), 0, 2, bottom);
    if (this.#region) {
      const [from, to] = this.#region.map((seconds) => this.#x(seconds));
      context.fillRect(from, 0, 2, bottom);
      context.fillRect(to - 2, 0, 2, bottom);
      context.globalAlpha = 0.18;
      context.fillRect(from, 0, to - from, bottom);
      context.globalAlpha = 1;
    }
    this.#paintTimeline(context, bottom, ahead, colour("text"));
  }

  /** How far the sound under a bar reaches up and down, 0 to 1. */
  #heights(x) {
    const from = Math.floor(this.#seconds(x) / this.#step);
    const to = Math.max(from + 1, Math.floor(this.#seconds(x + BAR) / this.#step));
    let [low, high] = [0, 0];
    for (let peak = from; peak < to; peak++) {
      low = Math.min(low, this.#peaks[2 * peak] ?? 0);
      high = Math.max(high, this.#peaks[2 * peak + 1] ?? 0);
    }
    // The root makes quiet speech visible beside loud speech.
    return [Math.sqrt(high / 127), Math.sqrt(-low / 128)];
  }

  #paintTimeline(context, top, line, text) {
    const least = (this.#shown / this.#width) * 70;
    const step = STEPS.find((seconds) => seconds >= least) ?? 3600 * Math.ceil(least / 3600);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = line;
    context.fillRect(0, top, this.#width, 1);
    for (let mark = Math.floor(this.#start / step) * step; mark <= this.#start + this.#shown; mark += step) {
      const x = this.#x(mark);
      context.fillStyle = line;
      context.fillRect(x, top, 1, 6);
      context.fillStyle = text;
      const label = clock(mark);
      if (x + 4 + context.measureText(label).width <= this.#width) context.fillText(label, x + 4, top + 15);
    }
  }

  // --- The pointer

  /** Where the pointer is: its place, its time, whether it is over the timeline, and which end of the region it is at. */
  #at(event) {
    const box = this.#view.getBoundingClientRect();
    const x = event.clientX - box.left;
    const end = this.#region?.findIndex((seconds) => Math.abs(this.#x(seconds) - x) <= GRIP) ?? -1;
    return { x, seconds: this.#seconds(x), scrubs: event.clientY - box.top > this.#height - TIMELINE, end };
  }

  #press(event) {
    if (event.button !== 0 || !this.#duration) return;
    const { x, seconds, scrubs, end } = this.#at(event);
    this.#drag = { x, scrubs, anchor: end < 0 ? seconds : this.#region[1 - end], moved: false };
    this.#view.setPointerCapture(event.pointerId);
    if (scrubs) this.#does.onSeek(seconds);
  }

  #move(event) {
    const { x, seconds, scrubs, end } = this.#at(event);
    this.#showTime(x);
    this.#view.style.cursor = scrubs ? "ew-resize" : end < 0 ? "" : "col-resize";
    const drag = this.#drag;
    if (!drag) return;
    drag.moved ||= Math.abs(x - drag.x) > CLICK;
    if (!drag.moved) return;
    if (drag.scrubs) this.#does.onSeek(seconds);
    else this.setRegion([Math.min(drag.anchor, seconds), Math.max(drag.anchor, seconds)]);
  }

  #release(event) {
    const drag = this.#drag;
    this.#drag = null;
    if (!drag || drag.scrubs) return;
    if (!drag.moved) this.#does.onSeek(this.#at(event).seconds);
    else this.#setRegion(this.#region?.[1] - this.#region?.[0] >= LEAST_REGION ? this.#region : null);
  }

  #setRegion(span) {
    this.setRegion(span);
    this.#does.onRegion(span);
  }

  #wheel(event) {
    const { x, seconds } = this.#at(event);
    if (event.ctrlKey || event.metaKey) this.setZoom(this.#zoom * Math.exp(-event.deltaY / 200), seconds);
    else if (this.#zoom > 1 && event.deltaX) this.#scroll(this.#start + (event.deltaX / this.#width) * this.#shown);
    else return;
    event.preventDefault();
    this.#showTime(x);
  }

  #showTime(x) {
    const seconds = this.#seconds(x);
    this.#hover.hidden = !this.#duration;
    this.#hover.style.left = `${within(x, 0, this.#width)}px`;
    this.#hover.classList.toggle("left", x > this.#width - 70);
    this.#hover.textContent = clock(seconds) + (this.#shown < 600 ? (seconds % 1).toFixed(2).slice(1, 3) : "");
  }
}
