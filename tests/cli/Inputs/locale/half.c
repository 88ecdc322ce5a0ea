float half(float x) { return x > 0.0f ? 0.5f * x : 0.125f * x; }
