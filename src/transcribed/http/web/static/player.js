/** Plays a recording: seek, speed, a span to loop, and the time at every frame. */

export const SPEEDS = [0.5, 0.6, 0.75, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2];
const REASONS = {
  2: "The server does not answer. Playback goes on when you press play.",
  3: "The recording is damaged here; the browser cannot play it.",
  4: "This browser cannot play this format. The transcript is complete all the same; download the recording to hear it.",
};

/**
 * `url()` resolves to the recording's address; it is asked again when an address has expired.
 *
 * `onTime(seconds)` is called at every frame while it plays, and after every seek; `onState()` when it
 * plays, pauses, or changes its speed or loop; `onProblem(message)` when it cannot play.
 */
export class Player {
  #url; #does; #frame = 0; #loop = null; #wanted = null; #retried = false; #loading = null; #destroyed = false;

  constructor(url, does) {
    this.#url = url;
    this.#does = does;
    this.audio = new Audio();
    this.audio.preload = "metadata";
    const on = (run, ...names) => names.forEach((name) => this.audio.addEventListener(name, () => this.#destroyed || run()));
    on(() => does.onState(), "play", "pause", "ratechange", "loadedmetadata");
    // A hidden tab gets no frames; there these events keep the loop.
    on(() => this.#tick(), "play", "pause", "timeupdate", "seeked");
    on(() => this.#loop && (this.seek(this.#loop[0]), this.play()), "ended");
    on(() => { this.#retried = false; }, "playing");
    on(() => this.#failed(), "error");
  }

  get time() { return this.#wanted ?? this.audio.currentTime; }
  get playing() { return !this.audio.paused; }
  get speed() { return this.audio.playbackRate; }
  set speed(speed) { this.audio.defaultPlaybackRate = this.audio.playbackRate = speed; }
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
        this.#does.onProblem(error.message);
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
      if (error.name === "NotAllowedError") this.#does.onProblem("The browser plays after you press play.");
    }
  }

  toggle() { return this.playing ? this.audio.pause() : this.play(); }

  /** Go to a time. A time outside the loop ends the loop. */
  seek(seconds) {
    const to = Math.min(this.duration ?? Infinity, Math.max(0, seconds));
    if (this.#loop && (to < this.#loop[0] || to >= this.#loop[1])) this.loop = null;
    if (this.audio.src) this.audio.currentTime = to;
    else this.#wanted = to;
    this.#does.onTime(to);
  }

  skip(seconds) { this.seek(this.time + seconds); }

  /** The next of the usual speeds: -1 slower, 1 faster. */
  step(direction) { this.speed = SPEEDS[SPEEDS.indexOf(this.speed) + direction] ?? this.speed; }

  /** Repeat what lies between two times; null ends that. */
  set loop(span) {
    this.#loop = span;
    if (span && (this.time < span[0] || this.time >= span[1])) this.seek(span[0]);
    this.#does.onState();
  }

  destroy() {
    this.#destroyed = true;
    cancelAnimationFrame(this.#frame);
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
  }

  #tick() {
    cancelAnimationFrame(this.#frame);
    if (this.#loop && this.playing && this.audio.currentTime >= this.#loop[1]) this.audio.currentTime = this.#loop[0];
    this.#does.onTime(this.time);
    if (this.playing) this.#frame = requestAnimationFrame(() => this.#tick());
  }

  async #failed() {
    const { code } = this.audio.error ?? {};
    const wasPlaying = this.playing;
    this.#loading = null;
    this.#wanted = this.audio.currentTime;
    this.audio.pause();
    // An expired token looks like a format that cannot be played, and so does a connection that is lost.
    if (this.#retried || code === 3) return this.#does.onProblem(REASONS[code] ?? "The recording cannot be played.");
    this.#retried = true;
    await this.load();
    return wasPlaying && this.play();
  }
}
