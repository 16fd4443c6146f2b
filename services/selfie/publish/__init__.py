"""The program that makes a checkpoint readable for engines, which are older than the trainer.

What transformers 5 writes is not what a reader of its version 4, such as Text Generation
Inference, looks for. Weights stay where they are; the small files are written again.
"""
