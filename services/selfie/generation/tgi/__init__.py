"""Text Generation Inference: `server` asks it, `answers` makes samples of what it says."""
