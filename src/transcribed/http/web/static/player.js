/** Plays a recording: seek, speed, a region to loop, and the time at every frame. */

const SPEEDS = [0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2];
const SPEED_KEY = "transcribed.speed";
const REASONS = {
  2: "The server does not answer. Playback goes on when you press play.",
  3: "The recording is damaged here; the browser cannot play it.",
  4: "This browser cannot play this format. The transcript is complete all the same; download the recording to hear it.",
};

function stored() {
  try {
    return Math.min(2, Math.max(0, Number(localStorage.getItem(SPEED_KEY))));
  } catch {
    return 0;
  }
}

/**
 * `url()` resolves to the recording's address; it is asked again when an address has expired.
 *
 * `onTime(seconds)` is called at every frame while it plays, and after every seek; `onState()` when it
 * plays, pauses, or changes its speed or loop; `onProblem(message)` when it cannot play.
 */
export class Player {
  #url; #onTime; #onState; #onProblem; #frame = 0; #loop = null; #wanted = null; #retried = false; #loading = null;
  #destroyed = false;

  constructor(url, { onTime, onState, onProblem }) {
    this.#url = url;
    this.#onTime = onTime;
    this.#onState = onState;
    this.#onProblem = onProblem;
    this.audio = new Audio();
    this.audio.preload = "metadata";
    this.audio.defaultPlaybackRate = this.audio.playbackRate = stored() || 1;
    const on = (name, does) => this.audio.addEventListener(name, does);
    on("play", () => { this.#tick(); this.#onState(); });
    on("pause", () => { this.#onTime(this.time); this.#onState(); });
    on("ratechange", () => this.#onState());
    on("timeupdate", () => this.#look());
    on("seeked", () => this.#look());
    on("loadedmetadata", () => this.#onState());
    on("ended", () => this.#loop && (this.seek(this.#loop[0]), this.play()));
    on("playing", () => { this.#retried = false; });
    on("error", () => this.#failed());
  }

  get time() { return this.#wanted ?? this.audio.currentTime; }
  get playing() { return !this.audio.paused; }
  get speed() { return this.audio.playbackRate; }
  get loop() { return this.#loop; }
  get duration() { return Number.isFinite(this.audio.duration) ? this.audio.duration : null; }

  /** Load the recording, so that the first press of play is heard at once. */
  load() {
    this.#loading ??= (async () => {
      try {
        const address = await this.#url();
        if (this.#destroyed) return;
        this.audio.src = address;
        if (this.#wanted !== null) this.audio.currentTime = this.#wanted;
        this.#wanted = null;
      } catch (error) {
        this.#loading = null;
        this.#onProblem(error.message);
      }
    })();
    return this.#loading;
  }

  async play() {
    await this.load();
    if (this.#destroyed) return;
    try {
      await this.audio.play();
    } catch (error) {
      // AbortError: something else was asked for meanwhile. The element's own errors are reported by its event.
      if (error.name === "NotAllowedError") this.#onProblem("The browser plays after you press play.");
    }
  }

  pause() { this.audio.pause(); }
  toggle() { return this.playing ? this.pause() : this.play(); }

  /** Go to a time. A time outside the loop ends the loop. */
  seek(seconds) {
    const end = this.duration ?? Infinity;
    const to = Math.min(end, Math.max(0, seconds));
    if (this.#loop && (to < this.#loop[0] || to >= this.#loop[1])) this.loop = null;
    if (this.audio.src) this.audio.currentTime = to;
    else this.#wanted = to;
    this.#onTime(to);
  }

  skip(seconds) { this.seek(this.time + seconds); }

  set speed(speed) {
    this.audio.playbackRate = Math.min(2, Math.max(0.5, speed));
    try {
      localStorage.setItem(SPEED_KEY, String(this.audio.playbackRate));
    } catch {
      // Storage is denied: the speed lasts as long as the recording is open.
    }
  }

  /** The next of the usual speeds: -1 slower, 1 faster. */
  step(direction) {
    const near = (speed) => Math.abs(speed - this.speed) < 0.001;
    const others = SPEEDS.filter((speed) => !near(speed) && Math.sign(speed - this.speed) === direction);
    if (others.length) this.speed = direction > 0 ? others[0] : others.at(-1);
  }

  /** Repeat what lies between two times; null ends that. */
  set loop(span) {
    this.#loop = span;
    if (span && (this.time < span[0] || this.time >= span[1])) this.seek(span[0]);
    this.#onState();
  }

  destroy() {
    this.#destroyed = true;
    cancelAnimationFrame(this.#frame);
    this.#onTime = this.#onState = this.#onProblem = () => {};
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
  }

  // A hidden tab gets no frames; there the element's own events keep the loop.
  #tick = () => {
    cancelAnimationFrame(this.#frame);
    this.#look();
    if (this.playing) this.#frame = requestAnimationFrame(this.#tick);
  };

  #look() {
    if (this.#loop && this.playing && this.audio.currentTime >= this.#loop[1]) this.audio.currentTime = this.#loop[0];
    this.#onTime(this.time);
  }

  #failed() {
    const { code } = this.audio.error ?? {};
    if (!this.audio.getAttribute("src")) return;
    const time = this.audio.currentTime;
    const wasPlaying = this.playing;
    this.#loading = null;
    this.#wanted = time;
    this.audio.pause();
    // An expired token looks like a format that cannot be played, and so does a connection that is lost.
    if (!this.#retried && (code === 2 || code === 4)) {
      this.#retried = true;
      this.load().then(() => wasPlaying && this.play());
      return;
    }
    this.#onProblem(REASONS[code] ?? "The recording cannot be played.");
  }
}
