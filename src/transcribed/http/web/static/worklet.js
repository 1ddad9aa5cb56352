/** Turns sound into messages of 16-bit samples, on the audio thread. */
const FRAME_SECONDS = 0.032;

class Frames extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round((sampleRate * FRAME_SECONDS) / 128) * 128 || 128;
    this.clear();
  }

  clear() {
    this.samples = new Int16Array(this.size);
    this.filled = 0;
    this.sum = 0;
  }

  process([channels]) {
    const count = channels.length;
    const length = count ? channels[0].length : 128;
    for (let index = 0; index < length; index += 1) {
      let sample = 0;
      for (let channel = 0; channel < count; channel += 1) sample += channels[channel][index];
      if (count > 1) sample /= count;
      this.sum += sample * sample;
      this.samples[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.filled += 1;
      if (this.filled === this.size) this.post();
    }
    return true;
  }

  post() {
    const { buffer } = this.samples;
    this.port.postMessage({ buffer, level: Math.sqrt(this.sum / this.size) }, [buffer]);
    this.clear();
  }
}

registerProcessor("frames", Frames);
