/* Broken specs and what must be said about them: each row is a spec, the number of errors, and the first message with its place. */
#include "limit_testing.h"
#include "spec_testing.h"

typedef struct broken_spec {
  const char *text;
  unsigned errors;
  const char *message;
} broken_spec;

/* A sound beginning for rows that are about one line: lines 1 to 4. */
#define HEAD                                                                                                                       \
  "model m\n"                                                                                                                      \
  "dim n = ?, h = 8, e = 4, k = 1\n"                                                                                               \
  "option act = relu in {relu, gelu}, flag = 0 in {0, 1}, size = 3\n"                                                              \
  "input x: f32[n, h]\n"
#define TAIL "output y = x\n"
#define NAME_25 "abcdefghijklmnopqrstuvwxy"
#define NAME_100 NAME_25 NAME_25 NAME_25 NAME_25
#define ROUTED "param r: [e, h] from \"r\"\nt = route(linear(x, r), top_k = k)\n"

static const broken_spec broken_specs[] = {
    /* The text. */
    {"", 1, "m.spec:1:1: error: the spec has no line `model NAME`"},
    {HEAD "$" TAIL, 1, "m.spec:5:1: error: unexpected character '$'"},
    {HEAD "output y = x \xff\n", 1, "m.spec:5:14: error: byte 0xFF is not valid UTF-8"},
    {HEAD TAIL "# \xc0\xaf\n", 1, "m.spec:6:3: error: byte 0xC0 is not valid UTF-8"},
    {HEAD TAIL "\x01", 1, "m.spec:6:1: error: control character 0x01 in the text"},
    {HEAD "param w: [h] from \"w\n" TAIL, 1, "m.spec:5:19: error: the string is not closed on its line"},
    {HEAD "d = 99999999999999999999\n" TAIL, 1, "m.spec:5:5: error: the integer does not fit in 64 bits"},
    {HEAD "d = 3x\n" TAIL, 1, "m.spec:5:6: error: expected a space or an operator after the integer, found 'x'"},
    {HEAD "d\xc3\xa9 = 3\n" TAIL, 1, "m.spec:5:2: error: unexpected character '\xc3\xa9'"},
    {HEAD "d = 3.5x\n" TAIL, 1, "m.spec:5:8: error: expected a space or an operator after the number, found 'x'"},
    {HEAD "d = 1e\n" TAIL, 1, "m.spec:5:6: error: expected a space or an operator after the integer, found 'e'"},
    {HEAD "d = 1e999\n" TAIL, 1, "m.spec:5:5: error: the number is too large, or longer than 127 characters"},
    {HEAD NAME_100 " = x\n" NAME_100 "a = x\n" TAIL, 1, "m.spec:6:1: error: the name is longer than 100 characters"},
    {HEAD "d = .5\n" TAIL, 1, "m.spec:5:5: error: expected an expression, found '.'"},
    /* Statements. */
    {HEAD "parm w: [h] from \"w\"\n" TAIL, 1, "m.spec:5:1: error: 'parm' does not begin a statement; did you mean 'param'?"},
    {HEAD "zzzzz \"a\" {\n}\n" TAIL, 1, "m.spec:5:1: error: 'zzzzz' does not begin a statement\n"},
    {HEAD "5 = x\n" TAIL, 1, "m.spec:5:1: error: expected a statement, found 5"},
    {HEAD "else { }\n" TAIL, 1, "m.spec:5:1: error: expected a statement, found the keyword 'else'"},
    {HEAD "}\n" TAIL, 1, "m.spec:5:1: error: expected a statement, found '}'"},
    {HEAD "z = x x\n" TAIL, 1, "m.spec:5:7: error: expected the end of the line, found 'x'"},
    {HEAD "z x\n" TAIL, 1, "m.spec:5:1: error: 'z' does not begin a statement"},
    {HEAD "z, = x\n" TAIL, 1, "m.spec:5:4: error: expected the name of the value, found '='"},
    {HEAD "z = \n" TAIL, 1, "m.spec:5:5: error: expected an expression, found the end of the line"},
    {HEAD "z = (1 + 2\n" TAIL, 1, "m.spec:5:11: error: expected ')' after the expression, found the end of the line"},
    {HEAD "z = add(x, a = x, x)\n" TAIL, 1, "m.spec:5:19: error: a positional argument cannot follow a named one"},
    {HEAD "z = 1 < 2 < 3\n" TAIL, 1, "m.spec:5:11: error: comparisons cannot be chained"},
    {HEAD "input if: f32[n]\n" TAIL, 1, "m.spec:5:7: error: expected the name of the input, but 'if' is a keyword"},
    {HEAD "input z f32[n]\n" TAIL, 1, "m.spec:5:9: error: expected ':' after the name of the input, found 'f32'"},
    {HEAD "input z: f16[n]\n" TAIL, 1, "m.spec:5:10: error: there is no element type 'f16': expected f32, i32 or i64"},
    {HEAD "input z: [n]\n" TAIL, 1, "m.spec:5:10: error: expected an element type (f32, i32 or i64), found '['"},
    {HEAD "param w: [h]\n" TAIL, 1, "m.spec:5:13: error: expected 'from' after the shape of the param, found the end of the line"},
    {HEAD "param w: [h] from w\n" TAIL, 1, "m.spec:5:19: error: expected the checkpoint key as a string, found 'w'"},
    {HEAD "param w: [] from \"w\"\n" TAIL, 1, "m.spec:5:11: error: expected an expression, found ']'"},
    {HEAD "param w[i = e]: [h] from \"w\"\n" TAIL, 1, "m.spec:5:11: error: expected '<' after the name of the index, found '='"},
    {HEAD "dim 3 = h\n" TAIL, 1, "m.spec:5:5: error: expected the name of the dim, found 3"},
    {HEAD "option o = [1]\n" TAIL, 1, "m.spec:5:12: error: expected a word or a number, found '['"},
    {HEAD "option o = a in {a, }\n" TAIL, 1, "m.spec:5:21: error: expected a word or a number, found '}'"},
    {HEAD "option o = -true\n" TAIL, 1, "m.spec:5:13: error: expected a number after '-', found the keyword 'true'"},
    {HEAD "input z: i64[n] =\n" TAIL, 1, "m.spec:5:18: error: expected an expression, found the end of the line"},
    {HEAD "param w: [h] from \"w\" or v\n" TAIL, 1, "m.spec:5:26: error: expected the checkpoint key as a string, found 'v'"},
    {HEAD "check 1\n" TAIL, 1, "m.spec:5:8: error: expected ',' between the condition and its message"},
    {HEAD "for l in 0 { }\n" TAIL, 1, "m.spec:5:12: error: expected '..' between the bounds of the loop, found '{'"},
    {HEAD "scope s { }\n" TAIL, 1, "m.spec:5:7: error: expected the prefix of the checkpoint keys as a string, found 's'"},
    {HEAD "if flag {\n" TAIL, 1, "m.spec:5:9: error: this '{' is never closed"},
    {HEAD "if flag\n" TAIL, 1, "m.spec:5:8: error: expected '{', found the end of the line"},
    {HEAD "block b(p, p) { return p }\n" TAIL, 1, "m.spec:5:12: error: block 'b' has two arguments named 'p'"},
    {HEAD "block b(p = 1, q) { return p }\n" TAIL, 1, "m.spec:5:16: error: argument 'q' needs a default"},
    {HEAD "block add(p) { return p }\n" TAIL, 1, "m.spec:5:7: error: 'add' is the name of an op"},
    {HEAD "block b() { }\nblock b() { }\n" TAIL, 1, "m.spec:6:7: error: block 'b' is declared twice"},
    /* Where statements may stand. */
    {"model a\nmodel b\ndim n = ?\ninput x: f32[n]\n" TAIL, 1, "m.spec:2:1: error: a spec describes one model"},
    {HEAD "if flag { dim d = 3 }\n" TAIL, 1, "m.spec:5:15: error: dim belongs at the top level, not inside braces"},
    {HEAD "block b() { output z = x }\n" TAIL, 1, "m.spec:5:13: error: output cannot stand in a block"},
    {HEAD "return x\n" TAIL, 1, "m.spec:5:1: error: return stands outside of a block"},
    {HEAD "if flag { include \"a.spec\" }\n" TAIL, 1, "m.spec:5:19: error: include belongs at the top level"},
    {HEAD "include \"none.spec\"\n" TAIL, 1, "m.spec:5:9: error: cannot include none.spec: not found"},
    {HEAD "include \"m.spec\"\n" TAIL, 1, "m.spec:5:9: error: m.spec includes itself"},
    {HEAD "include \"\"\n" TAIL, 1, "m.spec:5:9: error: the name of the file to include is empty"},
    {HEAD "include \"broken.spec\"\n" TAIL, 1, "broken.spec:2:9: error: expected an expression, found the end of the line"},
    {HEAD "include \"a.spec\"\n" TAIL, 1, "b.spec:1:9: error: a.spec includes itself"},
    /* Names. */
    {HEAD "dim h = 3\n" TAIL, 1, "m.spec:5:5: error: 'h' is declared twice"},
    {HEAD "z = foo\n" TAIL, 1, "m.spec:5:5: error: there is nothing named 'foo' here\n"},
    {HEAD "width = 3\nz = widh\n" TAIL, 1, "m.spec:6:5: error: there is nothing named 'widh' here; did you mean 'width'?"},
    {HEAD "z = reluu\n" TAIL, 1, "m.spec:5:5: error: there is nothing named 'reluu' here; did you mean 'relu'?"},
    {HEAD "z = add\n" TAIL, 1, "m.spec:5:5: error: 'add' is an op: write add(...) to call it"},
    {HEAD "z = late\ndim late = 3\n" TAIL, 1, "m.spec:5:5: error: 'late' is used before it is declared"},
    {HEAD "h = 3\n" TAIL, 1, "m.spec:5:1: error: 'h' is a dim and cannot be given another value"},
    {HEAD "act = 3\n" TAIL, 1, "m.spec:5:1: error: 'act' is an option and cannot be given another value"},
    {HEAD "mean = 3\nz = mean\n" TAIL, 1, "m.spec:5:1: error: 'mean' is a word that options or attributes use as a value"},
    {HEAD "for l in 0..3 { l = 4 }\n" TAIL, 1, "m.spec:5:17: error: 'l' is the index of a loop"},
    {HEAD "for x in 0..3 { }\n" TAIL, 1, "m.spec:5:5: error: the index 'x' hides another name"},
    {HEAD "for l in 0..3 { }\nz = l\n" TAIL, 1, "m.spec:6:5: error: there is nothing named 'l' here"},
    {HEAD "input x: f32[n]\n" TAIL, 1, "m.spec:5:7: error: there is already a value named 'x'"},
    {HEAD "block b() { return x }\noutput y = b()\n", 1, "m.spec:5:20: error: there is nothing named 'x' here"},
    {HEAD "output x = x\n", 1, "m.spec:5:8: error: there is already an input or output named 'x'"},
    {HEAD "output int = x\n", 1, "m.spec:5:8: error: 'int' cannot name the output: it is a keyword of C or C++"},
    {HEAD "output h = x\n", 1, "m.spec:5:8: error: 'h' is already the name of a dim or an option"},
    {"model class\ndim n = ?\ninput x: f32[n]\n" TAIL, 1, "m.spec:1:7: error: 'class' cannot name the model"},
    {HEAD, 1, "m.spec:1:7: error: the model has no output"},
    /* Expressions. */
    {HEAD "z = 9223372036854775807 + 1\n" TAIL, 1, "m.spec:5:25: error: the result does not fit in 64 bits"},
    {HEAD "z = 4611686018427387904 * 2\n" TAIL, 1, "m.spec:5:25: error: the result does not fit in 64 bits"},
    {HEAD "z = -(-9223372036854775807 - 1)\n" TAIL, 1, "m.spec:5:5: error: the result does not fit in 64 bits"},
    {HEAD "z = (-9223372036854775807 - 1) / -1\n" TAIL, 1, "m.spec:5:32: error: the result does not fit in 64 bits"},
    {HEAD "z = h / (h - 8)\n" TAIL, 1, "m.spec:5:7: error: division by zero"},
    {HEAD "z = h % 0\n" TAIL, 1, "m.spec:5:7: error: division by zero"},
    {HEAD "z = n + 1\n" TAIL, 1,
     "m.spec:5:5: error: expected an integer as an operand of '+', found 'n', which is known at run time only"},
    {HEAD "z = x * 2\n" TAIL, 1, "m.spec:5:5: error: expected an integer as an operand of '*', found a tensor"},
    {HEAD "z = 1 if act\n" TAIL, 1, "m.spec:5:10: error: expected an integer as a condition, found the word 'relu'"},
    {HEAD "z = h == act\n" TAIL, 1, "m.spec:5:7: error: cannot compare the integer 8 with the word 'relu'"},
    {HEAD "z = act == silu\n" TAIL, 1, "m.spec:5:12: error: expected act to be relu, gelu or c:FILE:FUNCTION, found 'silu'"},
    {HEAD "z = 0.5 + 1\n" TAIL, 1,
     "m.spec:5:5: error: expected an integer as an operand of '+', found the number 0.5; decimal numbers have no arithmetic"},
    {HEAD "z = -act\n" TAIL, 1, "m.spec:5:6: error: expected an integer as the operand of '-', found the word 'relu'"},
    {HEAD "z = 1 - -0.5\n" TAIL, 1,
     "m.spec:5:9: error: expected an integer as an operand of '-', found the number -0.5; decimal numbers have no arithmetic"},
    {HEAD "z = 0.5 < 1\n" TAIL, 1, "m.spec:5:5: error: expected an integer as an operand of '<', found the number 0.5"},
    {HEAD "z = 0.5 == act\n" TAIL, 1, "m.spec:5:9: error: cannot compare the number 0.5 with the word 'relu'"},
    {HEAD "param w: [0.5] from \"w\"\n" TAIL, 1, "m.spec:5:11: error: expected a size, found the number 0.5"},
    {HEAD "option o = 0.5 in {0.25, 1}\n" TAIL, 1, "m.spec:5:12: error: expected o to be 0.25 or 1, found '0.5'"},
    {HEAD "z = [1, x]\n" TAIL, 1, "m.spec:5:9: error: expected an integer as an element of a list, found a tensor"},
    {HEAD "z = x.y\n" TAIL, 1, "m.spec:5:7: error: only the results of an op that has several have fields; this is a tensor"},
    {HEAD "dim d = -1\n" TAIL, 1, "m.spec:5:9: error: expected d to be at least 0, found -1"},
    {HEAD "option o = a in {b, c}\n" TAIL, 1, "m.spec:5:12: error: expected o to be b or c, found 'a'"},
    {HEAD "check h == 9, \"h = {h}, {act}\"\n" TAIL, 1, "m.spec:5:1: error: h = 8, relu"},
    {HEAD "if 1 {\nw w {a, b}\nv = x x\n}\n" TAIL, 2, "m.spec:6:1: error:"}, /* braces in a line that is wrong end no body */
    {HEAD "check 0, \"a\"\ncheck 0, \"b\"\nz = add(x, 3)\n" TAIL, 2,
     "m.spec:5:1: error: a"}, /* what is built is not looked at any more */
    {HEAD "check 0, \"{\"\n" TAIL, 1, "m.spec:5:11: error: this '{' has no partner"},
    {HEAD "check 0, \"a}\"\n" TAIL, 1, "m.spec:5:12: error: this '}' has no partner"},
    {HEAD "check 0, \"{x}\"\n" TAIL, 1, "m.spec:5:12: error: expected an integer or a word between braces, but 'x' is a tensor"},
    {HEAD "for l in 0..100001 { }\n" TAIL, 1, "m.spec:5:13: error: the loop runs more than 100000 times"},
    {HEAD "for l in -9223372036854775807..9223372036854775807 { }\n" TAIL, 1,
     "m.spec:5:32: error: the loop runs more than 100000 times"},
    {HEAD "for i in 0..9999 { for j in 0..9999 { } }\n" TAIL, 1, "error: the spec takes too many steps to evaluate"},
    /* Params and inputs. */
    {HEAD "param w: [n] from \"w\"\n" TAIL, 1,
     "m.spec:5:11: error: the size of a param must be known, but 'n' is known at run time only"},
    {HEAD "param w: [h - 8] from \"w\"\n" TAIL, 1, "m.spec:5:13: error: expected a size of at least 1, found 0"},
    {HEAD "param w: [act] from \"w\"\n" TAIL, 1, "m.spec:5:11: error: expected a size, found the word 'relu'"},
    {HEAD "param w: [1, 1, 1, 1, 1] from \"w\"\n" TAIL, 1, "m.spec:5:7: error: 'w' has more than 4 dimensions"},
    {HEAD "param w: [9223372036854775807, 9223372036854775807] from \"w\"\n" TAIL, 1, "m.spec:5:7: error: parameter \"w\": f32"},
    {HEAD "input z: f32[9223372036854775807, 9223372036854775807]\n" TAIL, 1, "m.spec:5:7: error: input 'z': f32"},
    {HEAD "input z: i1[n]\n" TAIL, 1, "m.spec:5:7: error: input 'z': expected f32, i32 or i64 elements"},
    {HEAD "input z: f32[n] = 1\n" TAIL, 1, "m.spec:5:7: error: input 'z': only i32 and i64 inputs have a default, found f32[?]"},
    {HEAD "input z: i32[n] = 2147483648\n" TAIL, 1, "m.spec:5:7: error: input 'z': the default 2147483648 does not fit in 32 bits"},
    {HEAD "input z: i64[n] = 0.5\n" TAIL, 1,
     "m.spec:5:19: error: expected an integer as the default of an input, found the number 0.5"},
    {HEAD "dim class = ?\ninput z: i64[class]\n" TAIL, 1,
     "m.spec:6:7: error: 'class' cannot name the dimension: it is a keyword of C or C++"},
    {HEAD "param w[i < e]: [h] from \"{i}\" or \"w{i}\"\n" TAIL, 1, "m.spec:5:35: error: a stack has one key, not several"},
    {HEAD "param w: [h] from \"w\" or \"\"\n" TAIL, 1, "m.spec:5:26: error: the checkpoint key is empty"},
    {HEAD "generation {\n  start_token = -2\n}\n" TAIL, 1,
     "m.spec:6:17: error: expected start_token to be a token of at least 0, or none, found -2"},
    {HEAD "generation { start_token = [1, 2] }\n" TAIL, 1,
     "m.spec:5:28: error: expected start_token to be a token of at least 0, or none, found 2 tokens"},
    {HEAD "generation { pad_token = relu }\n" TAIL, 1,
     "m.spec:5:26: error: expected pad_token to be a token of at least 0, or none, found the word 'relu'"},
    {HEAD "generation { end_token = 0.5 }\n" TAIL, 1,
     "m.spec:5:26: error: expected end_token to be tokens of at least 0, or none, found the number 0.5"},
    {HEAD "generation { end_token = [1, 4294967296] }\n" TAIL, 1,
     "m.spec:5:26: error: expected end_token to be tokens of at least 0"},
    {HEAD "generation { end_tokn = 1 }\n" TAIL, 1,
     "m.spec:5:14: error: generation has no setting 'end_tokn'; did you mean 'end_token'?"},
    {HEAD "generation { beams = 0 }\n" TAIL, 1, "m.spec:5:22: error: expected beams to be an integer of at least 1, found 0"},
    {HEAD "generation { temperature = 0 }\n" TAIL, 1, "m.spec:5:28: error: expected temperature to be a number above 0, found 0"},
    {HEAD "generation { top_p = 1.5 }\n" TAIL, 1,
     "m.spec:5:22: error: expected top_p to be a number above 0, at most 1, found 1.5"},
    {HEAD "generation { early_stopping = 3 }\n" TAIL, 1,
     "m.spec:5:31: error: expected early_stopping to be true, false or never, found 3"},
    {HEAD "generation { sample = never }\n" TAIL, 1,
     "m.spec:5:23: error: expected sample to be true or false, found the word 'never'"},
    {HEAD "generation { bad_words = 3 }\n" TAIL, 1,
     "m.spec:5:26: error: expected bad_words to be lists of tokens of at least 0, none of them empty, or none, found the integer "
     "3"},
    {HEAD "generation { end_token = x }\n" TAIL, 1,
     "m.spec:5:26: error: expected end_token to be tokens of at least 0, or none, found"},
    {HEAD "generation { dim a = 1 }\n" TAIL, 1, "m.spec:5:18: error: generation has lines NAME = value, nothing else"},
    {HEAD "if 1 { generation { beams = 2 } }\n" TAIL, 1,
     "m.spec:5:8: error: generation belongs at the top level, not inside braces"},
    {HEAD "generation { min_length = 5\nmax_length = 4 }\n" TAIL, 1, "error: min_length = 5 is more than max_length = 4"},
    {HEAD "param w: [h] from \"\"\n" TAIL, 1, "m.spec:5:19: error: the checkpoint key is empty"},
    {HEAD "p = \"{h}\"\nparam w: [h] from \"w{p}\"\n" TAIL, 1, "m.spec:6:22: error: the word \"{h}\" holds braces"},
    {HEAD "param w: [h] from \"w{i}\"\n" TAIL, 1, "m.spec:5:22: error: there is nothing named 'i' here"},
    {HEAD "param w[i < e]: [h] from \"w\"\n" TAIL, 1,
     "m.spec:5:26: error: expected {i} once in the key of a stack, found it 0 times"},
    {HEAD "param w[i < e]: [h] from \"{i}.{i}\"\n" TAIL, 1,
     "m.spec:5:26: error: expected {i} once in the key of a stack, found it 2 times"},
    {HEAD "param w[i < 0]: [h] from \"{i}\"\n" TAIL, 1, "m.spec:5:13: error: expected a stack of at least 1 tensor, found 0"},
    {HEAD "param w[h < e]: [h] from \"{h}\"\n" TAIL, 1, "m.spec:5:9: error: the index 'h' hides another name"},
    {HEAD "param w[i < e]: [i] from \"{i}\"\n" TAIL, 1, "m.spec:5:18: error: there is nothing named 'i' here"},
    {HEAD "param a: [h] from \"w\"\nparam b: [e] from \"w\"\n" TAIL, 1,
     "m.spec:6:7: error: parameter \"w\": expected f32[8] as where it was first used, found f32[4]"},
    {HEAD "scope \"\" { }\n" TAIL, 1, "m.spec:5:7: error: the checkpoint key is empty"},
    /* Ops. */
    {HEAD "z = lineer(x, x)\n" TAIL, 1, "m.spec:5:5: error: there is no op or block named 'lineer'; did you mean 'linear'?"},
    {HEAD "z = fused_expert(x)\n" TAIL, 1,
     "m.spec:5:5: error: there is no op or block named 'fused_expert'; did you mean 'hyper_expert'?"},
    {HEAD "z = fused_experts(x)\n" TAIL, 1, "m.spec:5:5: error: fused_experts is made by passes and cannot be written in a spec"},
    {HEAD "z = parameter()\n" TAIL, 1, "m.spec:5:5: error: write `param NAME: [..] from \"KEY\"` for a parameter"},
    {HEAD "z = add(x)\n" TAIL, 1, "m.spec:5:5: error: add: operand b is missing"},
    {HEAD "z = add(x, x, x)\n" TAIL, 1, "m.spec:5:15: error: add takes no more than 2 operands (a, b)"},
    {HEAD "z = add(x, a = x)\n" TAIL, 1, "m.spec:5:16: error: add: operand a is given twice"},
    {HEAD "z = add(x, x if flag)\n" TAIL, 1, "m.spec:5:5: error: add: operand b is needed, but its value is absent here"},
    {HEAD "z = add(x, 3)\n" TAIL, 1, "m.spec:5:12: error: add: expected a tensor, found the integer 3"},
    {HEAD "z = activate(x, relu)\n" TAIL, 1,
     "m.spec:5:17: error: activate: expected a tensor, found the word 'relu'; attributes are given by name: function"},
    {HEAD "z = activate(x, funtion = relu)\n" TAIL, 1,
     "m.spec:5:17: error: activate has no operand or attribute 'funtion'; did you mean 'function'?"},
    {HEAD "z = activate(x, function = relu, function = relu)\n" TAIL, 1, "m.spec:5:34: error: activate: function is given twice"},
    {HEAD "param g: [h] from \"g\"\nz = rms_norm(x, g, epsilon = relu)\n" TAIL, 1,
     "m.spec:6:30: error: rms_norm: expected a number as epsilon, found the word 'relu'"},
    {HEAD "z = slice(x, begin = 0.0, end = 1)\n" TAIL, 1,
     "m.spec:5:22: error: slice: expected an integer as begin, found the number 0"},
    {HEAD "z = attention(x, x, x, heads = 2, biased = 0)\n" TAIL, 1,
     "m.spec:5:35: error: attention has no operand or attribute 'biased'; did you mean 'bias'?"},
    {HEAD "z = attention(x, x, bias = x, heads = 2)\n" TAIL, 1, "m.spec:5:5: error: attention: operand v is missing"},
    {HEAD "z = activate(x, function = 3)\n" TAIL, 1,
     "m.spec:5:28: error: activate: expected a word as function, found the integer 3"},
    {HEAD "z = activate(x, function = \"rely\")\n" TAIL, 1, "m.spec:5:5: error: activate: expected function to be one of"},
    {HEAD "z = slice(x, begin = 0, end = n)\n" TAIL, 1,
     "m.spec:5:31: error: slice: expected an integer as end, found 'n', which is known at run time only"},
    {HEAD "z = reshape(x, shape = 3)\n" TAIL, 1,
     "m.spec:5:24: error: reshape: expected a list of integers as shape, found the integer 3"},
    {HEAD ROUTED "z = combine(t, x)\n" TAIL, 1,
     "m.spec:7:13: error: combine: operand o is not one of the results of route (indices, gates, kept); pick one with a dot"},
    {HEAD ROUTED "z = t.gate\n" TAIL, 1,
     "m.spec:7:7: error: 'gate' is not one of the results of route (indices, gates, kept); did you mean 'gates'?"},
    {HEAD ROUTED "a, b = t\n" TAIL, 1,
     "m.spec:7:8: error: expected 2 values for 2 names, found the results of route (indices, gates, kept)"},
    {HEAD ROUTED "z = add(a = t, b = x)\n" TAIL, 1,
     "m.spec:7:13: error: add: expected a tensor as operand a, found the results of route"},
    {HEAD "param r: [e, h] from \"r\"\nt = route(linear(x, r), top_k = 5)\n" TAIL, 1, "m.spec:6:5: error: route: "},
    {HEAD "param w: [h, e] from \"w\"\nz = linear(x, w)\n" TAIL, 1, "m.spec:6:5: error: linear: "},
    {HEAD "add(x, x)\n" TAIL, 1, "m.spec:5:1: error: nothing uses the value of this call; write NAME = ..."},
    {HEAD "output y = h\n", 1, "m.spec:5:12: error: expected a tensor as output 'y', found the integer 8"},
    {HEAD TAIL TAIL, 1, "m.spec:6:8: error: there is already an input or output named 'y'"},
    /* Blocks. */
    {HEAD "block b(p) { return p }\nz = b()\n" TAIL, 1, "m.spec:6:5: error: block b: argument 'p' is missing"},
    {HEAD "block b(p) { return p }\nz = b(x, x)\n" TAIL, 1, "m.spec:6:10: error: block b takes no more than 1 arguments"},
    {HEAD "block b(part) { return part }\nz = b(prt = x)\n" TAIL, 1,
     "m.spec:6:7: error: block b has no argument 'prt'; did you mean 'part'?"},
    {HEAD "block b(p) { return p }\nz = b(x, p = x)\n" TAIL, 1, "m.spec:6:10: error: block b: argument 'p' is given twice"},
    {HEAD "block b() { }\nz = b()\n" TAIL, 1, "m.spec:6:5: error: this block returns nothing"},
    {HEAD "block b(p) { return b(p) }\nz = b(x)\n" TAIL, 1, "m.spec:5:21: error: block b calls itself"},
    {HEAD "block b(p) { return c(p) }\nblock c(p) { return b(p) }\nz = b(x)\n" TAIL, 1, "m.spec:6:21: error: block b calls itself"},
    {HEAD "block b(h) { return h }\nz = b(x)\n" TAIL, 1, "m.spec:5:9: error: 'h' is a dim and cannot be given another value"},
    {HEAD "block b(p) { return p, p }\nc, d, f = b(x)\n" TAIL, 1,
     "m.spec:6:11: error: expected 3 values for 3 names, found 2 values"},
    {HEAD "block b(p) { return add(p, h) }\nz = b(x)\n" TAIL, 1, "m.spec:6:5: note: in block b, called here"},
};

static const test_file files[] = {
    {"broken.spec", "# \ndim q = \n"},
    {"a.spec", "include \"b.spec\"\n"},
    {"b.spec", "include \"a.spec\"\n"},
    {NULL, NULL},
};

static void test_broken_specs(void **state) {
  (void)state;
  size_t failures = 0;
  for (size_t i = 0; i < sizeof broken_specs / sizeof *broken_specs; i++) {
    const broken_spec *spec = &broken_specs[i];
    test_result result = test_build(NULL, spec->text, strlen(spec->text), files, NULL, 0);
    bool as_expected = !result.built && result.errors == spec->errors && result.failure == HMOEC_INPUT_ERROR &&
                       strstr(result.messages, spec->message);
    if (!as_expected) {
      print_error("expected %u errors and \"%s\", found %u:\n%s\n", spec->errors, spec->message, result.errors, result.messages);
      failures++;
    }
    test_result_deinit(&result);
  }
  assert_int_equal(failures, 0);
}

/* Lines behind HEAD, and all that is said of them: "LINE:COLUMN: text" for each error. */
static const struct {
  const char *lines, *errors;
} broken_lines[] = {
    /* What a function in C is to the rest of the compiler. */
    {"z = c(\"a.c\", f, define = [\"A\", \"B=2\", \"C\"], include = [\"i\", \"/j\", \"k\"])\ncheck 0, \"{z}\"",
     "6:1: c:a.c:f\n-DA\n-DB=2\n-DC\n-Ii\n-I/j\n-Ik"},
    {"z = c(\"/d/a.c\", \"f\", include = \"i\")\ncheck 0, \"{z}\"", "6:1: c:/d/a.c:f\n-Ii"},
    {"z = c(\"d/a.c\", f)\ncheck 0, \"{z}\"", "6:1: c:d/a.c:f"},
    {"z = \"c:d/a.c:f\"\ncheck 0, \"{z}\"", "6:1: c:d/a.c:f"},
    {"dim = 3", "5:5: expected the name of the dim, found '='"},
    {"dim q 3", "5:7: expected '=' after the name of the dim, found 3"},
    {"dim q =", "5:8: expected an expression, found the end of the line"},
    {"dim q = ?, 3 = 4", "5:12: expected the name of the dim, found 3"},
    {"dim q = 3 r = 4", "5:11: expected the end of the line, found 'r'"},
    {"option = a", "5:8: expected the name of the option, found '='"},
    {"option o a", "5:10: expected '=' after the name of the option, found 'a'"},
    {"option o =", "5:11: expected a word or a number, found the end of the line"},
    {"option o = a in a", "5:17: expected '{' after 'in', found 'a'"},
    {"option o = a in {a b}", "5:20: expected '}' after the choices, found 'b'"},
    {"option o = a in {", "6:1: expected a word or a number, found the keyword 'output'"},
    {"option o = -a", "5:13: expected a number after '-', found 'a'"},
    {"option o = -\"a\"", "5:13: expected a number after '-', found a string"},
    {"option o = -false", "5:13: expected a number after '-', found the keyword 'false'"},
    {"option o = a in {a, -b}", "5:22: expected a number after '-', found 'b'"},
    {"option o = a b = c", "5:14: expected the end of the line, found 'b'"},
    {"input = f32[n]", "5:7: expected the name of the input, found '='"},
    {"input z: f32 n", "5:14: expected '[' before the shape, found 'n'"},
    {"input z: f32[n", "5:15: expected ']' after the shape, found the end of the line"},
    {"input z: f32[]", "5:14: expected an expression, found ']'"},
    {"input z: f32[n] = 1 2", "5:21: expected the end of the line, found 2"},
    {"input z: 3[n]", "5:10: expected an element type (f32, i32 or i64), found 3"},
    {"input 3: f32[n]", "5:7: expected the name of the input, found 3"},
    {"param = w", "5:7: expected the name of the param, found '='"},
    {"param w[3 < e]: [h] from \"w\"", "5:9: expected the name of the index, found 3"},
    {"param w[i < ]: [h] from \"w\"", "5:13: expected an expression, found ']'"},
    {"param w[i < e: [h] from \"w\"", "5:14: expected ']' after the bound of the index, found ':'"},
    {"param w [h]", "5:11: expected '<' after the name of the index, found ']'"},
    {"param w: h from \"w\"", "5:10: there is no element type 'h': expected f32, i32 or i64"},
    {"param w: [h \"w\"", "5:13: expected ']' after the shape, found a string"},
    {"param w: [h] \"w\"", "5:14: expected 'from' after the shape of the param, found a string"},
    {"param w: [h] from \"w\" if", "5:25: expected an expression, found the end of the line"},
    {"param w: [h] from \"w\" or", "5:25: expected the checkpoint key as a string, found the end of the line"},
    {"param w: f16[h] from \"w\"", "5:10: there is no element type 'f16': expected f32, i32 or i64"},
    {"param if: [h] from \"w\"", "5:7: expected the name of the param, but 'if' is a keyword"},
    {"output = x", "5:8: expected the name of the output, found '='"},
    {"output z x", "5:10: expected '=' after the name of the output, found 'x'"},
    {"output z =", "5:11: expected an expression, found the end of the line"},
    {"output if = x", "5:8: expected the name of the output, but 'if' is a keyword"},
    {"block (p) { }", "5:7: expected the name of the block, found '('"},
    {"block b { }", "5:9: expected '(' after the name of the block, found '{'"},
    {"block b(p { }", "5:11: expected ')' after the arguments of the block, found '{'"},
    {"block b(3) { }", "5:9: expected the name of the argument, found 3"},
    {"block b(p =) { }", "5:12: expected an expression, found ')'"},
    {"block b(p q) { }", "5:11: expected ')' after the arguments of the block, found 'q'"},
    {"block b(p) return p", "5:12: expected '{', found the keyword 'return'"},
    {"block b() { return }", "5:20: expected an expression, found '}'"},
    {"block b() { return , 1 }", "5:20: expected an expression, found ','"},
    {"block b() { return 1, }", "5:23: expected an expression, found '}'"},
    {"for 3 in 0..1 { }", "5:5: expected the name of the loop index, found 3"},
    {"for if in 0..1 { }", "5:5: expected the name of the loop index, but 'if' is a keyword"},
    {"for l of 0..1 { }", "5:7: expected 'in' after the loop index, found 'of'"},
    {"for l in { }", "5:10: expected an expression, found '{'"},
    {"for l in 0 1 { }", "5:12: expected '..' between the bounds of the loop, found 1"},
    {"for l in 0.. { }", "5:14: expected an expression, found '{'"},
    {"for l in 0..1", "5:14: expected '{', found the end of the line"},
    {"if { }", "5:4: expected an expression, found '{'"},
    {"if flag { } else", "5:17: expected '{', found the end of the line"},
    {"if flag { } else if { }", "5:21: expected an expression, found '{'"},
    {"if flag { } else { } else { }", "5:22: expected the end of the line, found the keyword 'else'"},
    {"if flag { z = } else { y = }", "5:15: expected an expression, found '}'\n5:28: expected an expression, found '}'"},
    {"scope { }", "5:7: expected the prefix of the checkpoint keys as a string, found '{'"},
    {"scope \"a\"", "5:10: expected '{', found the end of the line"},
    {"scope \"a\" { z = }", "5:17: expected an expression, found '}'"},
    {"check", "5:6: expected an expression, found the end of the line"},
    {"check 1, 2", "5:10: expected the message as a string, found 2"},
    {"check , \"a\"", "5:7: expected an expression, found ','"},
    {"check 1, \"a\" 2", "5:14: expected the end of the line, found 2"},
    {"generation", "5:11: expected '{', found the end of the line"},
    {"generation x", "5:12: expected '{', found 'x'"},
    {"include", "5:8: expected the file to include as a string, found the end of the line"},
    {"include x", "5:9: expected the file to include as a string, found 'x'"},
    {"include \"a\" b", "5:9: cannot include a: not found"},
    {"z, 3 = x", "5:4: expected the name of the value, found 3"},
    {"z, w 3", "5:6: expected '=' after the names, found 3"},
    {"z = x = x", "5:7: expected the end of the line, found '='"},
    {"z = add(x", "5:10: expected ')' after the arguments, found the end of the line"},
    {"z = add(3 = x)", "5:11: expected ')' after the arguments, found '='"},
    {"z = add(0.5 = x)", "5:13: expected ')' after the arguments, found '='"},
    {"z = add(\"a\" = x)", "5:9: expected the name of the argument, found a string"},
    {"z = add(x, a b)", "5:14: expected ')' after the arguments, found 'b'"},
    {"z = add(x, include = 3)", "5:12: add has no operand or attribute 'include'"},
    {"z = add(x, if = 3)", "5:12: expected the name of the argument, but 'if' is a keyword"},
    {"z = x.", "5:7: expected the name of the field, found the end of the line"},
    {"z = x.3", "5:7: expected the name of the field, found 3"},
    {"z = x.if", "5:7: expected the name of the field, but 'if' is a keyword"},
    {"z = [1, ]", "5:9: expected an expression, found ']'"},
    {"z = [1 2]", "5:8: expected ']' after the list, found 2"},
    {"z = [", "5:6: expected an expression, found the end of the line"},
    {"z = (1, 2)", "5:7: expected ')' after the expression, found ','"},
    {"z = ()", "5:6: expected an expression, found ')'"},
    {"z = not", "5:8: expected an expression, found the end of the line"},
    {"z = 1 +", "5:8: expected an expression, found the end of the line"},
    {"z = 1 *", "5:8: expected an expression, found the end of the line"},
    {"z = 1 ==", "5:9: expected an expression, found the end of the line"},
    {"z = 1 and", "5:10: expected an expression, found the end of the line"},
    {"z = 1 or", "5:9: expected an expression, found the end of the line"},
    {"z = 1 if", "5:9: expected an expression, found the end of the line"},
    {"z = 1 if 1 else", "5:16: expected an expression, found the end of the line"},
    {"z = -", "5:6: expected an expression, found the end of the line"},
    {"z = 1 < 2 == 3", "5:11: comparisons cannot be chained: write `a < b and b < c`"},
    {"z = 1 == 2 == 3", "5:12: comparisons cannot be chained: write `a < b and b < c`"},
    {"z = if", "5:5: expected an expression, found the keyword 'if'"},
    {"z = true = 1", "5:10: expected the end of the line, found '='"},
    {"model", "5:6: expected the name of the model, found the end of the line"},
    {"model 3", "5:7: expected the name of the model, found 3"},
    {"model a b", "5:9: expected the end of the line, found 'b'"},
    {"z = not x", "5:9: expected an integer as a condition, found a tensor"},
    {"z = not relu", "5:9: expected an integer as a condition, found the word 'relu'"},
    {"z = x and 1", "5:5: expected an integer as a condition, found a tensor"},
    {"z = 1 and x", "5:11: expected an integer as a condition, found a tensor"},
    {"z = 0 or x", "5:10: expected an integer as a condition, found a tensor"},
    {"z = -x", "5:6: expected an integer as the operand of '-', found a tensor"},
    {"z = x == 1", "5:7: cannot compare a tensor with the integer 1"},
    {"z = silu == act", "5:5: expected act to be relu, gelu or c:FILE:FUNCTION, found 'silu'"},
    {"z = act != silu", "5:12: expected act to be relu, gelu or c:FILE:FUNCTION, found 'silu'"},
    {"z = silu != act", "5:5: expected act to be relu, gelu or c:FILE:FUNCTION, found 'silu'"},
    {"z = (-9223372036854775807 - 1) % -1", "5:32: the result does not fit in 64 bits"},
    {"z = -9223372036854775807 - 2", "5:26: the result does not fit in 64 bits"},
    {"z = 9223372036854775808", "5:5: the integer does not fit in 64 bits"},
    {"z = 9223372036854775807 % 0", "5:25: division by zero"},
    {"z = q", "5:5: there is nothing named 'q' here"},
    {"z = 1 if x", "5:10: expected an integer as a condition, found a tensor"},
    {"z = 1 if relu else 2", "5:10: expected an integer as a condition, found the word 'relu'"},
    {"z = [relu]", "5:6: expected an integer as an element of a list, found the word 'relu'"},
    {"z = [0.5]", "5:6: expected an integer as an element of a list, found the number 0.5; decimal numbers have no arithmetic"},
    {"z = add", "5:5: 'add' is an op: write add(...) to call it"},
    {"z = b", "5:5: there is nothing named 'b' here"},
    {"z = relu(x)", "5:5: there is no op or block named 'relu'"},
    {"z = flag(x)", "5:5: there is no op or block named 'flag'"},
    {"z = x(x)", "5:5: there is no op or block named 'x'"},
    {"z = h.x", "5:7: only the results of an op that has several have fields; this is the integer 8"},
    {"z = (1).x", "5:9: only the results of an op that has several have fields; this is the integer 1"},
    {"z = act.x", "5:9: only the results of an op that has several have fields; this is the word 'relu'"},
    {"z = [1].x", "5:9: only the results of an op that has several have fields; this is a list of integers"},
    {"z = [1] == [1]", "5:9: cannot compare a list of integers with a list of integers"},
    {"z = [1] + 1", "5:5: expected an integer as an operand of '+', found a list of integers"},
    {"z = act < 1", "5:5: expected an integer as an operand of '<', found the word 'relu'"},
    {"z = 0.5 and 1", "5:5: expected an integer as a condition, found the number 0.5; decimal numbers have no arithmetic"},
    {"z = not 0.5", "5:9: expected an integer as a condition, found the number 0.5; decimal numbers have no arithmetic"},
    {"z = 1 % 0.5", "5:9: expected an integer as an operand of '%', found the number 0.5; decimal numbers have no arithmetic"},
    {"dim d = 1 / 0", "5:11: division by zero"},
    {"dim d = act", "5:9: expected an integer as the size of a dim, found the word 'relu'"},
    {"dim d = n", "5:9: expected an integer as the size of a dim, found 'n', which is known at run time only"},
    {"dim d = x", "5:9: expected an integer as the size of a dim, found a tensor"},
    {"dim d = foo", "5:9: there is nothing named 'foo' here"},
    {"for l in act..3 { }", "5:10: expected an integer as the first value of a loop, found the word 'relu'"},
    {"for l in 0..act { }", "5:13: expected an integer as the end of a loop, found the word 'relu'"},
    {"for l in n..3 { }", "5:10: expected an integer as the first value of a loop, found 'n', which is known at run time only"},
    {"for l in 0..3 { l = l }", "5:17: 'l' is the index of a loop and cannot be given another value"},
    {"for l in 0..3 { for l in 0..2 { } }", "5:21: the index 'l' hides another name; choose a name that is free"},
    {"for n in 0..3 { }", "5:5: the index 'n' hides another name; choose a name that is free"},
    {"for act in 0..3 { }", "5:5: the index 'act' hides another name; choose a name that is free"},
    {"if n { }", "5:4: expected an integer as a condition, found 'n', which is known at run time only"},
    {"if x { }", "5:4: expected an integer as a condition, found a tensor"},
    {"if 0.5 { }", "5:4: expected an integer as a condition, found the number 0.5; decimal numbers have no arithmetic"},
    {"check n, \"a\"", "5:7: expected an integer as a condition, found 'n', which is known at run time only"},
    {"check x, \"a\"", "5:7: expected an integer as a condition, found a tensor"},
    {"check 0, \"\"", "5:1: "},
    {"check 0, \"a{h}{flag}b\"", "5:1: a80b"},
    {"check 0, \"{}\"", "5:12: there is nothing named '' here"},
    {"check 0, \"{n}\"", "5:12: expected an integer or a word between braces, but 'n' is 'n', which is known at run time only"},
    {"check 0, \"{foo}\"", "5:12: there is nothing named 'foo' here"},
    {"check 0, \"}{\"", "5:11: this '}' has no partner"},
    {"scope \"{x}\" { }", "5:9: expected an integer or a word between braces, but 'x' is a tensor"},
    {"scope \"/\" { }", "5:7: the checkpoint key is empty"},
    {"param w: [h, x] from \"w\"", "5:14: expected a size, found a tensor"},
    {"param w: [foo] from \"w\"", "5:11: there is nothing named 'foo' here"},
    {"param w: [h] from \"w{x}\"", "5:22: expected an integer or a word between braces, but 'x' is a tensor"},
    {"param w: [h] from \"w\" if x", "5:26: expected an integer as a condition, found a tensor"},
    {"param w: [h] from \"w\" if n", "5:26: expected an integer as a condition, found 'n', which is known at run time only"},
    {"param w[i < x]: [h] from \"{i}\"", "5:13: expected an integer as the number of tensors in a stack, found a tensor"},
    {"param w[i < n]: [h] from \"{i}\"",
     "5:13: expected an integer as the number of tensors in a stack, found 'n', which is known at run time only"},
    {"param w[i < 2147483648]: [h] from \"{i}\"", "5:13: a stack of 2147483648 tensors is too large"},
    {"param w[i < e]: [h, h, h, h] from \"{i}\"", "5:7: 'w' has more than 4 dimensions"},
    {"param w[x < e]: [h] from \"{x}\"", "5:9: the index 'x' hides another name; choose a name that is free"},
    {"param w[i < e]: [h] from \"{i}{h}{x}\"", "5:34: expected an integer or a word between braces, but 'x' is a tensor"},
    {"input z: f32[0]", "5:14: expected a size of at least 1, found 0"},
    {"input z: f32[h - 9]", "5:16: expected a size of at least 1, found -1"},
    {"input z: f32[act]", "5:14: expected a size, found the word 'relu'"},
    {"input z: f32[x]", "5:14: expected a size, found a tensor"},
    {"input z: f32[1, 1, 1, 1, 1]", "5:7: 'z' has more than 4 dimensions"},
    {"input z: i64[n] = x", "5:19: expected an integer as the default of an input, found a tensor"},
    {"input z: i64[n] = act", "5:19: expected an integer as the default of an input, found the word 'relu'"},
    {"input z: i64[n] = n", "5:19: expected an integer as the default of an input, found 'n', which is known at run time only"},
    {"output z = n", "5:12: expected a tensor as output 'z', found 'n', which is known at run time only"},
    {"output z = act", "5:12: expected a tensor as output 'z', found the word 'relu'"},
    {"output z = 0.5", "5:12: expected a tensor as output 'z', found the number 0.5"},
    {"output z = [1]", "5:12: expected a tensor as output 'z', found a list of integers"},
    {"output z = foo", "5:12: there is nothing named 'foo' here"},
    {"output act = x", "5:8: 'act' is already the name of a dim or an option"},
    {"x, w = x", "5:8: expected 2 values for 2 names, found a tensor"},
    {"w, u = h", "5:8: expected 2 values for 2 names, found the integer 8"},
    {"w, u = 1, 2", "5:9: expected the end of the line, found ','"},
    {"add(x, foo)", "5:8: there is nothing named 'foo' here"},
    {"z = add(x, x if 0)", "5:5: add: operand b is needed, but its value is absent here"},
    {"z = add(a = x, b = foo)", "5:20: there is nothing named 'foo' here"},
    {"z = add(c = x)", "5:9: add has no operand or attribute 'c'; did you mean 'a'?"},
    {"z = add(x, x, c = x)", "5:15: add has no operand or attribute 'c'; did you mean 'a'?"},
    {"z = linear(x, bias = x)", "5:5: linear: operand w is missing"},
    {"z = linear(w = x)", "5:5: linear: operand x is missing"},
    {"z = linear(x if 0, x)", "5:5: linear: operand x is needed, but its value is absent here"},
    {"z = activate(x)", "5:5: activate: function is missing"},
    {"z = activate(x, function = act, function = act)", "5:33: activate: function is given twice"},
    {"z = activate(x, 3)", "5:17: activate: expected a tensor, found the integer 3; attributes are given by name: function"},
    {"z = activate(x, 0.5)", "5:17: activate: expected a tensor, found the number 0.5; attributes are given by name: function"},
    {"z = activate(x, [1])", "5:17: activate: expected a tensor, found a list of integers; attributes are given by name: function"},
    {"z = activate(x, function = [1])", "5:28: activate: expected a word as function, found a list of integers"},
    {"z = activate(x, function = 0.5)", "5:28: activate: expected a word as function, found the number 0.5"},
    {"z = activate(x, function = x)", "5:28: activate: expected a word as function, found a tensor"},
    {"z = activate(x, function = 3 if 0)", "5:5: activate: function is missing"},
    {"z = slice(x, begin = act, end = 1)", "5:22: slice: expected an integer as begin, found the word 'relu'"},
    {"z = slice(x, begin = [1], end = 1)", "5:22: slice: expected an integer as begin, found a list of integers"},
    {"z = slice(x, begin = x, end = 1)", "5:22: slice: expected an integer as begin, found a tensor"},
    {"z = slice(x, begin = 0)", "5:5: slice: end is missing"},
    {"z = slice(x, begin = 9, end = 8)", "5:5: slice: columns [9, 8) are not a part of [0, 8)"},
    {"z = reshape(x, shape = [1, x])", "5:28: expected an integer as an element of a list, found a tensor"},
    {"z = reshape(x, shape = act)", "5:24: reshape: expected a list of integers as shape, found the word 'relu'"},
    {"z = reshape(x, shape = 0.5)", "5:24: reshape: expected a list of integers as shape, found the number 0.5"},
    {"z = c()", "5:5: c: expected the file and the function, c(\"FILE\", NAME)"},
    {"z = c(\"a.c\")", "5:5: c: expected the file and the function, c(\"FILE\", NAME)"},
    {"z = c(a.c, f)", "5:9: c: expected the file as text, in double quotes"},
    {"z = c(\"a.c\", 3)", "5:14: c: expected the name of a function"},
    {"z = c(\"\", f)", "5:7: c: expected the file as text, in double quotes"},
    {"z = c(\"a.c\", f, 3)", "5:17: c: expected include = or define = behind the function"},
    {"z = c(\"a.c\", f, other = \"a\")", "5:17: c: expected include = or define = behind the function"},
    {"z = c(\"a.c\", f, include = 3)", "5:27: c: expected a directory as text, in double quotes"},
    {"z = c(\"a.c\", f, include = \"\")", "5:27: c: expected a directory as text, in double quotes"},
    {"z = c(\"a.c\", f, define = [\"A\", B])", "5:32: c: expected a macro (\"NAME\" or \"NAME=VALUE\") as text, in double quotes"},
    {"z = c(file = \"a.c\", f)", "5:21: a positional argument cannot follow a named one"},
    {"z = c(\"a.c\", name = f)", "5:5: c: expected the file and the function, c(\"FILE\", NAME)"},
    {"generation { }  x", "5:17: expected the end of the line, found 'x'"},
    {"generation { end_token }", "5:24: expected '=' after the name, found '}'"},
    {"generation { add(x, x) }", "5:14: generation has lines NAME = value, nothing else"},
    {"generation { a, b = 1 }", "5:14: generation has lines NAME = value, nothing else"},
    {"generation { end_token = foo }", "5:26: there is nothing named 'foo' here"},
    {"generation { end_token = [1, x] }", "5:30: expected an integer as an element of a list, found a tensor"},
    {"generation { bad_words = [[1], 2] }",
     "5:32: expected bad_words to be lists of tokens of at least 0, none of them empty, or none, found the integer 2"},
    {"generation { bad_words = [1, [2]] }", "5:30: expected an integer as an element of a list, found a list of integers"},
    {"generation { bad_words = [[1], [x]] }", "5:33: expected an integer as an element of a list, found a tensor"},
    {"generation { sample = 2 }", "5:23: expected sample to be true or false, found 2"},
    {"generation { temperature = relu }", "5:28: expected temperature to be a number above 0, found the word 'relu'"},
    {"generation { temperature = [1] }", "5:28: expected temperature to be a number above 0, found a list of integers"},
    {"generation { beams = 0.5 }", "5:22: expected beams to be an integer of at least 1, found the number 0.5"},
    {"generation { beams = [1, 2] }", "5:22: expected beams to be an integer of at least 1, found a list of integers"},
    {"generation { beams = none }", "5:22: expected beams to be an integer of at least 1, found the word 'none'"},
    {"generation { sample = 0.5 }", "5:23: expected sample to be true or false, found the number 0.5"},
    {"block b(p) { return foo }\nz = b(x)", "5:21: there is nothing named 'foo' here"},
    {"block b(p = foo) { return p }\nz = b()", "5:13: there is nothing named 'foo' here"},
    {"block b(p) { return p }\nz = b(foo)", "6:7: there is nothing named 'foo' here"},
    {"block b(p) { return p }\nz = b(foo, bar)", "6:7: there is nothing named 'foo' here\n6:12: there is nothing named 'bar' "
                                                 "here\n6:12: block b takes no more than 1 arguments"},
    {"block b(p, q) { return p }\nz = b(q = x)", "6:5: block b: argument 'p' is missing"},
    {"block b(p, q = p) { return q }\nz = b(q = x)", "6:5: block b: argument 'p' is missing"},
    {"block b(p) { p }\nz = b(x)", "5:16: expected '=' after the name, found '}'"},
    {"block b() { input q: f32[n] }", "5:13: input cannot stand in a block: pass values as arguments and return them"},
    {"block b() { model q }", "5:13: model belongs at the top level, not inside braces"},
    {"block b() { if 1 { output q = x } }", "5:20: output cannot stand in a block: pass values as arguments and return them"},
    {"block b() { block d() { } }", "5:13: block belongs at the top level, not inside braces"},
    {"block b() { dim d = 3 }", "5:17: dim belongs at the top level, not inside braces"},
    {"block b() { option d = 3 }", "5:20: option belongs at the top level, not inside braces"},
    {"if 1 { block d() { } }", "5:8: block belongs at the top level, not inside braces"},
    {"if 1 { option d = 3 }", "5:15: option belongs at the top level, not inside braces"},
    {"if 1 { model d }", "5:8: model belongs at the top level, not inside braces"},
    {"for l in 0..1 { dim d = 3 }", "5:21: dim belongs at the top level, not inside braces"},
    {"scope \"a\" { dim d = 3 }", "5:17: dim belongs at the top level, not inside braces"},
    {"if 1 { return x }", "5:8: return stands outside of a block"},
    {"if 0 { dim d = 3 } else { dim d = 3 }",
     "5:12: dim belongs at the top level, not inside braces\n5:31: dim belongs at the top level, not inside braces"},
    {"block b(p, q, p, q) { }", "5:15: block 'b' has two arguments named 'p'\n5:18: block 'b' has two arguments named 'q'"},
    {"block b(p = 1, q, r) { }", "5:16: argument 'q' needs a default, because the one before it has one"},
    {"block linear() { }", "5:7: 'linear' is the name of an op; choose another for the block"},
    {"block b() { }\nblock b() { }\nblock b() { }", "6:7: block 'b' is declared twice\n7:7: block 'b' is declared twice"},
    {"block b() { }\nz = b", "6:5: 'b' is a block: write b(...) to call it"},
    {"block b(n) { }\nb(x)", "5:9: 'n' is a dim and cannot be given another value"},
    {"block b(act) { }\nb(x)", "5:9: 'act' is an option and cannot be given another value"},
    {"block b(mean) { }\nb(x)", "5:9: 'mean' is a word that options or attributes use as a value; choose another name"},
    {"block b() { for l in 0..2 { l = 3 } }\nb()", "5:29: 'l' is the index of a loop and cannot be given another value"},
    {"option o = 3 in {1, 2}", "5:12: expected o to be 1 or 2, found '3'; did you mean '1'?"},
    {"option o = 0.5 in {1, 2}", "5:12: expected o to be 1 or 2, found '0.5'"},
    {"option o = a in {1, 2}", "5:12: expected o to be 1 or 2, found 'a'; did you mean '1'?"},
    {"option o = 1 in {a, b}", "5:12: expected o to be a or b, found '1'; did you mean 'a'?"},
    {"option o = ab in {abc, abd}", "5:12: expected o to be abc or abd, found 'ab'; did you mean 'abc'?"},
    {"dim late = other\ndim other = 3", "5:12: 'other' is used before it is declared"},
    {"z = route(x, top_k = 1)\ny2 = add(z, z)",
     "6:10: add: operand a is not one of the results of route (indices, gates, kept); pick one with a dot"},
    {"z = route(x, top_k = 1)\ny2 = z.indices.x", "6:16: only the results of an op that has several have fields; this is a tensor"},
    {"z = route(x, top_k = 1)\nw, u, v, t = z",
     "6:14: expected 4 values for 4 names, found the results of route (indices, gates, kept)"},
    {"z = route(x, top_k = 1)\ny2 = z + 1",
     "6:6: expected an integer as an operand of '+', found the results of route (indices, gates, kept)"},
    {"z = route(x, top_k = 1)\ny2 = activate(x, z)",
     "6:18: activate: a further operand is not one of the results of route (indices, gates, kept)"},
    {"z = route(x, top_k = 1)\noutput w = z",
     "6:12: expected a tensor as output 'w', found the results of route (indices, gates, kept)"},
};

static void keep_error(void *user, const hmoec_message *message) {
  if (message->severity == HMOEC_ERROR)
    fprintf(user, "%s%u:%u: %s", ftell(user) ? "\n" : "", message->at.line, message->at.column, message->text);
}

static void test_broken_lines(void **state) {
  (void)state;
  size_t failures = 0;
  for (size_t i = 0; i < sizeof broken_lines / sizeof *broken_lines; i++) {
    char text[1024], *errors = NULL;
    size_t size;
    snprintf(text, sizeof text, HEAD "%s\n" TAIL, broken_lines[i].lines);
    FILE *stream = open_memstream(&errors, &size);
    assert_non_null(stream);
    hmoec_diagnostics *diagnostics = hmoec_diagnostics_create_with(keep_error, stream);
    const hmoec_spec_reader reader = {.read = test_files_read};
    MlirModule module;
    assert_false(hmoec_spec_build(test_context(), diagnostics, &reader, "m.spec", text, strlen(text), NULL, &module));
    hmoec_diagnostics_destroy(diagnostics);
    fclose(stream);
    if (strcmp(errors, broken_lines[i].errors) != 0) {
      print_error("%s: expected\n%s\nfound\n%s\n", broken_lines[i].lines, broken_lines[i].errors, errors);
      failures++;
    }
    free(errors);
  }
  assert_int_equal(failures, 0);
}

/* What is said beside an error, at another place. */
static void test_notes(void **state) {
  (void)state;
  static const struct {
    const char *text, *messages;
  } rows[] = {
      {"model a\nmodel b\ndim n = ?\ninput x: f32[n, 8]\noutput y = x\n",
       "m.spec:2:1: error: a spec describes one model\nmodel b\n^\nm.spec:1:1: note: it is named 'a' here\nmodel a\n^\n"},
      {HEAD "option o = 1 in {2, 1, 3, 1.0}\n" TAIL,
       "m.spec:5:27: error: o: the choice '1' is given twice\noption o = 1 in {2, 1, 3, 1.0}\n                          ^\n"
       "m.spec:5:21: note: first given here\noption o = 1 in {2, 1, 3, 1.0}\n                    ^\n"},
      {HEAD "param w: [8, 8] from \"w\"\nparam v: [4, 8] from \"w\"\noutput y = linear(linear(x, w), v)\n",
       "m.spec:6:7: error: parameter \"w\": expected f32[8, 8] as where it was first used, found f32[4, 8]\nparam v: [4, 8] from "
       "\"w\"\n"
       "      ^\nm.spec:5:7: note: first used here\nparam w: [8, 8] from \"w\"\n      ^\n"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    test_result result = test_build(NULL, rows[i].text, strlen(rows[i].text), NULL, NULL, 0);
    assert_string_equal(result.messages, rows[i].messages);
    test_result_deinit(&result);
  }
}

static void test_long_key(void **state) {
  (void)state;
  for (int length = 1000; length <= 1001; length++) {
    char text[2048];
    snprintf(text, sizeof text,
             "model m\ndim n = ?, d = 8\ninput x: f32[n, d]\nparam w: [d, d] from \"%0*d\"\noutput y = linear(x, w)\n", length, 0);
    test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_false(result.built); /* one of 1000 is still too long for a checkpoint */
    assert_int_equal(result.errors, 1);
    assert_int_equal(strstr(result.messages, "m.spec:4:22: error: the text is longer than 1000 characters") != NULL, length > 1000);
    test_result_deinit(&result);
  }
}

static void test_nul_byte(void **state) {
  (void)state;
  static const char text[] = "model m\n\0\n";
  test_result result = test_build(NULL, text, sizeof text - 1, NULL, NULL, 0);
  assert_false(result.built);
  test_expect(result.messages, "m.spec:2:1: error: control character 0x00 in the text", text);
  test_result_deinit(&result);
}

/* Every statement that is wrong is reported, and only those. */
static void test_errors_are_collected(void **state) {
  (void)state;
  static const char text[] = "model m\n"
                             "dim n = ?, h = \n"
                             "option o = a in {a, +}\n"
                             "input x: f32[n, 8\n"
                             "block b(p) {\n"
                             "  q = (1 +\n"
                             "  return p\n"
                             "}\n"
                             "for l in 0.. {\n"
                             "  z = [\n"
                             "  parm w: [3] from \"w\"\n"
                             "}\n"
                             "outptu y = x\n"
                             "output y = x\n";
  test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
  assert_false(result.built);
  test_expect_in_order(result.messages,
                       (const char *const[]){"m.spec:2:16: error", "m.spec:3:21: error", "m.spec:4:18: error", "m.spec:6:11: error",
                                             "m.spec:9:14: error", "m.spec:11:8: error", "m.spec:13:1: error", NULL});
  test_result_deinit(&result);

  static const char values[] = HEAD "a = foo\n"
                                    "b = add(a, bar)\n"
                                    "c = add(b, x, a)\n"
                                    "if baz { }\n"
                                    "output y = add(x, c)\n";
  result = test_build(NULL, values, strlen(values), NULL, NULL, 0);
  assert_int_equal(result.errors, 3); /* what depends on a, b or c does not complain again */
  test_expect_in_order(result.messages,
                       (const char *const[]){"m.spec:5:5: error", "m.spec:6:12: error", "m.spec:8:4: error", NULL});
  test_result_deinit(&result);
}

static void test_caret(void **state) {
  (void)state;
  static const char text[] = HEAD "z = add(x, foo)\n" TAIL;
  test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
  assert_string_equal(result.messages, "m.spec:5:12: error: there is nothing named 'foo' here\n"
                                       "z = add(x, foo)\n"
                                       "           ^\n");
  test_result_deinit(&result);
}

typedef struct broken_define {
  hmoec_define define;
  const char *message;
} broken_define;

static void test_broken_defines(void **state) {
  (void)state;
  static const broken_define rows[] = {
      {{"hh", "3"}, "-D hh=3: error: the spec has no dim or option 'hh'; did you mean 'h'?"},
      {{"hh", "3"}, "-D hh=3: note: dims: n, h, e, k\n-D hh=3: note: options: act, flag, size, eps, mixed\n"},
      {{"h", "abc"}, "-D h=abc: error: expected an integer for the dim h, found 'abc'"},
      {{"h", ""}, "-D h=: error: expected an integer for the dim h"},
      {{"h", "-3"}, "-D h=-3: error: expected h to be at least 0, found -3"},
      {{"h", "99999999999999999999"}, "-D h=99999999999999999999: error: expected an integer for the dim h"},
      {{"h", "0"}, "m.spec:4:17: error: expected a size of at least 1, found 0"},
      {{"n", "3"}, "-D n=3: error: n is known at run time only and cannot be set"},
      {{"act", "silu"}, "-D act=silu: error: expected act to be relu, gelu or c:FILE:FUNCTION, found 'silu'"},
      {{"act", "relv"}, "-D act=relv: error: expected act to be relu, gelu or c:FILE:FUNCTION, found 'relv'; did you mean 'relu'?"},
      {{"flag", "2"}, "-D flag=2: error: expected flag to be 0 or 1, found '2'"},
      {{"size", "big"}, "-D size=big: error: expected an integer for the option size, found 'big'"},
      {{"size", "0.5"}, "-D size=0.5: error: expected an integer for the option size, found '0.5'"},
      {{"eps", "big"}, "-D eps=big: error: expected a number for the option eps, found 'big'"},
      {{"eps", "1e999"}, "-D eps=1e999: error: expected a number for the option eps, found '1e999'"},
      {{"mixed", "0.5"}, "-D mixed=0.5: error: expected mixed to be 0.25 or 1, found '0.5'"},
      {{"mixed", "2"}, "-D mixed=2: error: expected mixed to be 0.25 or 1, found '2'"},
      {{"mixed", "a"}, "-D mixed=a: error: expected mixed to be 0.25 or 1, found 'a'"},
      {{"h", "-"}, "-D h=-: error: expected an integer for the dim h, found '-'"},
      {{"h", "3-"}, "-D h=3-: error: expected an integer for the dim h, found '3-'"},
      {{"eps", "1."}, "-D eps=1.: error: expected a number for the option eps, found '1.'"},
      {{"generation.end_token", "3,-2"},
       "-D generation.end_token=3,-2: error: expected end_token to be tokens of at least 0, or none, found -2"},
      {{"generation.end_token", "3,"},
       "-D generation.end_token=3,: error: expected end_token to be tokens of at least 0, or none, found '3,'"},
      {{"generation.top_p", "big"},
       "-D generation.top_p=big: error: expected top_p to be a number above 0, at most 1, found 'big'"},
      {{"generation.beams", "true"},
       "-D generation.beams=true: error: expected beams to be an integer of at least 1, found 'true'"},
      {{"generation.beam", "2"}, "-D generation.beam=2: error: generation has no setting 'beam'; did you mean 'beams'?"},
      {{"generation.bad_words", "2"}, "-D generation.bad_words=2: error: expected bad_words to be none here"},
      {{"beams", "2"}, "-D beams=2: error: the spec has no dim or option 'beams'; did you mean 'generation.beams'?"},
      {{"", ""}, "-D =: error: the spec has no dim or option ''"},
  };
  static const char text[] = HEAD "option eps = 1e-6, mixed = 1 in {0.25, 1}\ngeneration { end_token = 3 }\n" TAIL;
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    test_result result = test_build(NULL, text, strlen(text), NULL, &rows[i].define, 1);
    assert_false(result.built);
    assert_int_equal(result.errors, 1);
    test_expect(result.messages, rows[i].message, text);
    test_result_deinit(&result);
  }
}

/* Text that nests without end is refused, not followed until the stack is gone. */
static void test_nesting(void **state) {
  (void)state;
  static const struct {
    const char *before, *piece, *after, *message;
  } rows[] = {
      {HEAD "z = ", "(", "\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = ", "-", "1\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = ", "not ", "1\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = 1", " + 1", "\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = x", ".a", "\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = ", "[", "\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = ", "add(", "\n", "the expression is nested deeper than 100 levels"},
      {HEAD "z = ", "1 if 1 else ", "1\n", "the expression is nested deeper than 100 levels"},
      {HEAD, "if 1 {\n", "\n", "bodies are nested deeper than 32 levels"},
      {HEAD, "scope \"a\" { ", "\n", "bodies are nested deeper than 32 levels"},
      {HEAD, "x = add(x, x)\n", TAIL, "the model has more than 50000 ops"},
      {HEAD "block b(", "p,", ") { }\n", "a block takes no more than 64 arguments"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    char *text = repeated(rows[i].before, rows[i].piece, 50001, rows[i].after, NULL);
    test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
    assert_false(result.built);
    test_expect(result.messages, rows[i].message, rows[i].piece);
    test_result_deinit(&result);
    free(text);
  }
}

/* As many levels as there may be, and one more, which is refused at its place. */
static void test_levels(void **state) {
  (void)state;
  static const struct {
    const char *before, *open, *middle, *close, *after;
    int most;
    const char *message; /* of one more */
  } rows[] = {
      {HEAD "z = ", "(", "1", ")", "\n" TAIL, 99, "m.spec:5:105: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "-", "1", "", "\n" TAIL, 99, "m.spec:5:104: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "not ", "1", "", "\n" TAIL, 99, "m.spec:5:401: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "", "1", " + 1", "\n" TAIL, 99, "m.spec:5:403: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "", "1", " and 1", "\n" TAIL, 99, "m.spec:5:601: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "1 if 1 else ", "1", "", "\n" TAIL, 99,
       "m.spec:5:1205: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = ", "add(x, ", "x", ")", "\n" TAIL, 99, "m.spec:5:702: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = reshape(x, shape = ", "[", "1", "]", ")\n" TAIL, 98,
       "m.spec:5:123: error: the expression is nested deeper than 100 levels\n"},
      {HEAD "z = x", "", "", ".a", "\n" TAIL, 99, "m.spec:5:205: error: the expression is nested deeper than 100 levels\n"},
      {HEAD, "if 1 {\n", "", "}\n", TAIL, 32, "m.spec:37:6: error: bodies are nested deeper than 32 levels\n"},
      {HEAD, "scope \"a\" {\n", "", "}\n", TAIL, 32, "m.spec:37:11: error: bodies are nested deeper than 32 levels\n"},
      {HEAD, "for i in 0..1 {\n", "", "}\n", TAIL, 32, "m.spec:37:15: error: bodies are nested deeper than 32 levels\n"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
    for (int more = 0; more < 2; more++) {
      size_t size;
      char *text = NULL;
      FILE *stream = open_memstream(&text, &size);
      fputs(rows[i].before, stream);
      for (int n = 0; n < rows[i].most + more; n++) fputs(rows[i].open, stream);
      fputs(rows[i].middle, stream);
      for (int n = 0; n < rows[i].most + more; n++) fputs(rows[i].close, stream);
      fputs(rows[i].after, stream);
      fclose(stream);
      test_result result = test_build(NULL, text, size, NULL, NULL, 0);
      bool deep = strncmp(result.messages, rows[i].message, strlen(rows[i].message)) == 0;
      if (deep != (more == 1) || (more == 0 && strstr(result.messages, "deeper")))
        fail_msg("%zu, %d: expected %s%s, found %.200s", i, rows[i].most + more, more ? "" : "nothing like ", rows[i].message,
                 result.messages);
      test_result_deinit(&result);
      free(text);
    }
}

/* 300 blocks, each calling the one before it: deep, but not recursive. */
static void test_call_depth(void **state) {
  (void)state;
  size_t size;
  char *text = NULL;
  FILE *stream = open_memstream(&text, &size);
  fputs(HEAD "block b0(p) { return p }\n", stream);
  for (int i = 1; i < 300; i++) fprintf(stream, "block b%d(p) { return b%d(p) }\n", i, i - 1);
  fputs("output y = b299(x)\n", stream);
  fclose(stream);
  test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
  assert_false(result.built);
  test_expect(result.messages, "blocks and expressions are nested too deeply", "");
  test_result_deinit(&result);
  free(text);
}

/* Two calls a block make 2^60 calls. */
static void test_call_count(void **state) {
  (void)state;
  size_t size;
  char *text = NULL;
  FILE *stream = open_memstream(&text, &size);
  fputs(HEAD "block b0() { }\n", stream);
  for (int i = 1; i < 60; i++) fprintf(stream, "block b%d() {\n  b%d()\n  b%d()\n}\n", i, i - 1, i - 1);
  fputs("b59()\n" TAIL, stream);
  fclose(stream);
  test_result result = test_build(NULL, text, strlen(text), NULL, NULL, 0);
  assert_false(result.built);
  test_expect(result.messages, "the spec takes too many steps to evaluate", "");
  test_result_deinit(&result);
  free(text);
}

/* A name that is given twice: where the first is. */
static void test_first_places(void **state) {
  (void)state;
  static const broken_spec rows[] = {
      {HEAD "dim h = 3\n" TAIL, 1, "m.spec:2:12: note: first declared here"},
      {HEAD "option act = 3\n" TAIL, 1, "m.spec:3:8: note: first declared here"},
      {HEAD "input x: f32[n, h]\n" TAIL, 1, "m.spec:4:7: note: it is declared here"},
      {HEAD "input e: f32[n, h]\n" TAIL, 1, "m.spec:2:19: note: it is declared here"},
      {HEAD "s = add(x, x)\ninput s: f32[n, h]\n" TAIL, 1, "m.spec:5:1: note: it is declared here"},
      {HEAD TAIL TAIL, 1, "m.spec:5:8: note: it is declared here"},
      {HEAD "output x = x\n", 1, "m.spec:4:7: note: it is declared here"},
      {HEAD "for x in 0..3 { }\n" TAIL, 1, "m.spec:4:7: note: it is declared here"},
      {HEAD "block b(p, q, p) { return p }\n" TAIL, 1, "m.spec:5:9: note: the first is here"},
      {HEAD "block b(p) { return p }\nblock b(p) { return p }\n" TAIL, 1, "m.spec:5:7: note: first declared here"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    test_result result = test_build(NULL, rows[i].text, strlen(rows[i].text), NULL, NULL, 0);
    assert_int_equal(result.errors, rows[i].errors);
    test_expect(result.messages, rows[i].message, rows[i].text);
    test_result_deinit(&result);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_first_places), cmocka_unit_test(test_broken_specs),   cmocka_unit_test(test_broken_lines),
      cmocka_unit_test(test_long_key),     cmocka_unit_test(test_nul_byte),       cmocka_unit_test(test_errors_are_collected),
      cmocka_unit_test(test_caret),        cmocka_unit_test(test_broken_defines), cmocka_unit_test(test_nesting),
      cmocka_unit_test(test_levels),       cmocka_unit_test(test_notes),          cmocka_unit_test(test_call_depth),
      cmocka_unit_test(test_call_count),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
