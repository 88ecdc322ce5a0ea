#define TWICE 2
