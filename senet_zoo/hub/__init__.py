"""Where weights come from: names, bytes and hashes. Knows no model.

`manifest` says which checkpoints exist, `fetch` brings the file of one, verified; `tensor_files` opens it, and
`dialects` translates its tensors' names.
"""
