"""Stems, pools, units and heads: each a frozen spec, and below it the module that the spec builds."""
