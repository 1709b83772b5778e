"""The protocol's measures, pure: they take cached outputs of calibration and test, and return frozen values.

A system is judged in two steps. `choices.freeze` sees the calibration split and fixes every threshold; only then does
`sealed.SealedTest` hand out the test outputs, once, and `report.judge` scores what was fixed.
"""
