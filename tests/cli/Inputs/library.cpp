// The library from C++: a graph by the macros of the header, compiled.
#include <hmoe/compiler.h>

#include <cstdio>

int main() {
  hmoec_options options = {};
  options.struct_size = sizeof options;
  options.message = hmoec_message_print;
  options.message_context = stderr;
  hmoec_graph *graph;
  hmoec_compilation *compilation;
  if (hmoec_graph_create("from_cpp", &options, &graph)) return 1;
  HMOEC_HERE(graph);
  const int64_t width = 8;
  hmoec_graph_value x = hmoec_graph_input(graph, "x", HMOEC_SHAPE(HMOEC_F32, HMOEC_DYNAMIC, width));
  hmoec_graph_value w = hmoec_graph_parameter(graph, "w", HMOEC_SHAPE(HMOEC_F32, 4, width));
  hmoec_graph_value y = hmoec_graph_linear(graph, x, w, HMOEC_NONE);
  const hmoec_attribute attributes[] = {HMOEC_TEXT("function", "relu")};
  y = hmoec_graph_op(graph, "activate", &y, 1, attributes, 1, nullptr);
  hmoec_graph_output(graph, "y", y);
  if (hmoec_compile_graph(graph, &options, &compilation)) return 2;
  std::puts(hmoec_compilation_name(compilation));
  hmoec_compilation_destroy(compilation);
  hmoec_graph_destroy(graph);
}
