"""Short-term features of 50 ms every 25 ms, and their statistics over windows, by pyAudioAnalysis."""

import json
import resource
import sys
import time

import numpy
from pyAudioAnalysis import MidTermFeatures, audioBasicIO

request = json.load(sys.stdin)
wall_s, cpu_s = time.perf_counter(), time.process_time()
rate, samples = audioBasicIO.read_audio_file(request["path"])
middle, _, _ = MidTermFeatures.mid_feature_extraction(
    audioBasicIO.stereo_to_mono(samples),
    rate,
    round(request["window_s"] * rate),
    round(request["hop_s"] * rate),
    round(0.05 * rate),
    round(0.025 * rate),
)
print(
    json.dumps(
        {
            "wall_s": time.perf_counter() - wall_s,
            "cpu_s": time.process_time() - cpu_s,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "shape": list(numpy.shape(middle)),
        }
    )
)
