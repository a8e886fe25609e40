"""Pictures in, classes out.

`predictor` classifies with a PyTorch network, `exported_model` with an exported file and without torch; both use
`pipeline`.
"""
