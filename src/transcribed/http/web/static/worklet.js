/** Turns sound into messages of 16-bit samples with their loudness, on the audio thread. */
const SIZE = Math.ceil((sampleRate * 0.032) / 128) * 128;

class Frames extends AudioWorkletProcessor {
  samples = new Int16Array(SIZE);
  filled = 0;
  sum = 0;

  process([channels]) {
    // A source that is exchanged or has ended has no channels, and is silent.
    const length = channels[0]?.length ?? 128;
    for (let index = 0; index < length; index += 1) {
      let sample = 0;
      for (const channel of channels) sample += channel[index] / channels.length;
      this.sum += sample * sample;
      this.samples[this.filled] = Math.max(-1, Math.min(1, sample)) * 32767;
      this.filled += 1;
      if (this.filled === SIZE) this.post();
    }
    return true;
  }

  post() {
    const { samples, sum } = this;
    this.port.postMessage({ samples, level: Math.sqrt(sum / SIZE) }, [samples.buffer]);
    Object.assign(this, { samples: new Int16Array(SIZE), filled: 0, sum: 0 });
  }
}

registerProcessor("frames", Frames);
