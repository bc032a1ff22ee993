"""Ask an exported model, with ONNX Runtime and nothing of emogram.

emogram export shipped --to onnx-waveform --out model.onnx && python waveform.py model.onnx CLIP.wav
"""

import json
import sys

import onnxruntime
import soundfile

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
labels = json.loads(session.get_modelmeta().custom_metadata_map["emogram.labels"])
samples, sample_rate = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
if sample_rate != 16000:
    sys.exit(f"{sys.argv[2]}: {sample_rate} Hz; resample it to 16000 Hz")
(probabilities,) = session.run(["probabilities"], {"waveform": samples.mean(axis=1)})
for probability, label in sorted(zip(probabilities, labels, strict=True), reverse=True):
    print(f"{label}\t{probability:.4f}")
