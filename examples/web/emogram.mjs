// A model of emogram, exported with --to onnx-waveform, in a browser or in Node. Sound does not leave the machine.

/** Load a model and the labels beside it: model.onnx and model.onnx.json, as `emogram export` writes them. */
export async function load(ort, model, report) {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  const metadata = report.metadata;
  return {
    session,
    ort,
    labels: JSON.parse(metadata["emogram.labels"]),
    sampleRate: JSON.parse(metadata["emogram.spectrogram"]).sample_rate,
  };
}

/** Return [{label, score}], the most probable first, of a Float32Array of mono samples at model.sampleRate. */
export async function predict(model, samples) {
  const waveform = new model.ort.Tensor("float32", samples, [samples.length]);
  const { probabilities } = await model.session.run({ waveform });
  return model.labels
    .map((label, index) => ({ label, score: probabilities.data[index] }))
    .sort((one, other) => other.score - one.score);
}

/** Decode a sound file as the browser can, at the model's rate, and average its channels. */
export async function decode(bytes, sampleRate) {
  const sound = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(bytes);
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((value, index) => { mono[index] += value / sound.numberOfChannels; });
  }
  return mono;
}
