"""Inspection: looking inside a running network."""

from __future__ import annotations

from unrolled.inspection.gradients import BpttTerms, GradientFlow, bptt_terms, gradient_flow, step_jacobian

__all__ = ["BpttTerms", "GradientFlow", "bptt_terms", "gradient_flow", "step_jacobian"]
