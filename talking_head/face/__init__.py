"""Face detection, landmarks, coefficients, and the linear face basis."""
