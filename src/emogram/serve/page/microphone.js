// The microphone as blocks of samples, at 16 kHz where the browser can, else at its own rate.

import { ServiceError } from "./api.js";

const WANTED_RATE = 16000;
const MAX_RATE = 48000; // of the service

/** Open the microphone; `heard` gets Float32Arrays in [-1, 1]. Returns {sampleRate, start(), stop()}. */
export async function openMicrophone(heard) {
  if (!navigator.mediaDevices || !window.AudioWorkletNode) {
    throw new ServiceError("microphone", "Browsers give it only to pages at https or at localhost.");
  }
  let stream;
  try {
    // What browsers do to make calls pleasant changes how a voice sounds.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new ServiceError("microphone", error.message);
  }
  let context = null;
  try {
    context = new AudioContext({ sampleRate: WANTED_RATE });
    let source;
    try {
      source = context.createMediaStreamSource(stream);
    } catch { // Firefox does not resample microphones
      await context.close();
      context = new AudioContext();
      if (context.sampleRate > MAX_RATE) {
        await context.close();
        context = new AudioContext({ sampleRate: MAX_RATE });
      }
      source = context.createMediaStreamSource(stream);
    }
    await context.audioWorklet.addModule("/page/worklet.js");
    return new Microphone(context, stream, source, heard);
  } catch (error) {
    for (const track of stream.getTracks()) track.stop();
    await context?.close();
    throw new ServiceError("microphone", error.message);
  }
}

class Microphone {
  constructor(context, stream, source, heard) {
    Object.assign(this, { context, stream, source });
    this.sampleRate = context.sampleRate;
    this.node = new AudioWorkletNode(context, "listener", { numberOfOutputs: 0 });
    this.ended = new Promise((resolve) => {
      this.node.port.onmessage = ({ data: { samples, last } }) => {
        if (samples.length) heard(samples);
        if (last) resolve();
      };
    });
  }

  async start() {
    await this.context.resume();
    this.source.connect(this.node);
  }

  /** Stop; resolves once the last samples were handed on. */
  async stop() {
    this.source.disconnect();
    this.node.port.postMessage("end");
    await Promise.race([this.ended, new Promise((resolve) => setTimeout(resolve, 500))]);
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}

/** Float samples as 16-bit integers, little endian. */
export function toInt16(samples) {
  const bytes = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((each, at) => bytes.setInt16(2 * at, Math.max(-32768, Math.min(32767, Math.round(32768 * each))), true));
  return bytes.buffer;
}

/** How loud a block is, 0 to 1 over 60 dB. */
export function loudness(samples) {
  const power = samples.reduce((sum, each) => sum + each * each, 0) / Math.max(1, samples.length);
  return Math.max(0, Math.min(1, 1 + (10 * Math.log10(power + 1e-12)) / 60));
}
