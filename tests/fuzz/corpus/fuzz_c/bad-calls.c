#define M(a) M(a) + M(a)
int g(int n) { return g(n); }
float f(float x) { return g(3) + M(x) + *(float *)0; }
