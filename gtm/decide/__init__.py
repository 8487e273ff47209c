"""The decision: health folding, steering, the plan. Pure, total, deterministic; imports only gtm.model."""
