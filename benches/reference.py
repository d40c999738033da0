"""What clip-features replaces, as a user would write it.

    python benches/reference.py DIR photo.jpg [OUT.npy]

Timed as a whole process, imports included.
"""

import sys

import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, CLIPVisionModel

directory, picture, *output = sys.argv[1:]
model = CLIPVisionModel.from_pretrained(directory)
processor = CLIPImageProcessorPil.from_pretrained(directory)
inputs = processor(images=Image.open(picture), return_tensors="pt")
with torch.inference_mode():
    features = model(**inputs).last_hidden_state
print(picture, list(features.shape))
for path in output:
    np.save(path, features.numpy())
