// Runs beside the sound: hands on blocks of the first channel as they come.

const BLOCK = 2048;

class Listener extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.open = true;
    this.port.onmessage = () => { // asked to end: what is left goes first
      this.port.postMessage({ samples: this.block.slice(0, this.filled), last: true });
      this.open = false;
    };
  }

  process([input]) {
    const samples = input[0];
    if (!samples) return this.open;
    for (const each of samples) {
      this.block[this.filled++] = each;
      if (this.filled === BLOCK) {
        this.port.postMessage({ samples: this.block.slice(), last: false });
        this.filled = 0;
      }
    }
    return this.open;
  }
}

registerProcessor("listener", Listener);
