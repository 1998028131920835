"""From rows to a candidate: trained, packaged with what the monitor needs, measured for the gate."""
