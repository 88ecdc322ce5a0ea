/* hmoec: the command line. A table of commands; the process's exit status is the contract's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands/commands.h"

static const hmoec_command *const commands[] = {&hmoec_command_compile, &hmoec_command_pack,     &hmoec_command_run,
                                                &hmoec_command_check,   &hmoec_command_bench,    &hmoec_command_explain,
                                                &hmoec_command_import,  &hmoec_command_generate, &hmoec_command_tune};

static void print_help(FILE *out) {
  fprintf(out,
          "hmoec %s: an ahead-of-time compiler for HyperMoE and other mixture-of-experts models\n\nusage: hmoec COMMAND MODEL "
          "[options]\n\ncommands:\n",
          hmoec_version());
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
    fprintf(out, "  %-9s %s\n", commands[i]->name, commands[i]->summary);
  fprintf(out, "\nMODEL is a .spec file (docs/spec.md), a .mlir file in the hmoe dialect, or a Hugging Face directory.\n`hmoec "
               "COMMAND --help` lists a "
               "command's options.\n"
               "Exit status: 0 done, 1 the input is wrong, 2 wrong usage, 3 the machine lacks something.\n");
}

static bool unknown_command(const char *name, hmoec_diagnostics *diagnostics) {
  const char *names[sizeof commands / sizeof *commands];
  for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) names[i] = commands[i]->name;
  const char *close = hmoec_closest_name(name, names, sizeof names / sizeof *names);
  return hmoec_usage_error(diagnostics, "there is no command '%s'%s%s%s; see hmoec --help", name, close ? "; did you mean " : "",
                           close ? close : "", close ? "?" : "");
}

static bool run_command(const hmoec_command *command, int argc, char **argv, hmoec_diagnostics *diagnostics) {
  hmoec_arguments options;
  bool help;
  if (!hmoec_arguments_parse(command, argc, argv, &options, &help, diagnostics)) return false;
  if (help) {
    hmoec_arguments_help(command, stdout);
    return true;
  }
  return command->run(&options, diagnostics);
}

/* With a standard stream closed, the next file opened would take its number and get what is printed. Writes to these still fail. */
static void open_standard_streams(void) {
  int fd;
  do fd = open("/dev/null", O_RDONLY);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

int main(int argc, char **argv) {
  open_standard_streams();
  hmoec_diagnostics *diagnostics = hmoec_diagnostics_create(stderr);
  if (!diagnostics) {
    fputs("hmoec: out of memory\n", stderr);
    return HMOEC_MACHINE_ERROR;
  }
  bool ok = true;
  if (argc < 2) {
    print_help(stderr);
    ok = hmoec_usage_error(diagnostics, "expected a command");
  } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
    print_help(stdout);
  } else if (strcmp(argv[1], "--version") == 0) {
    printf("hmoec %s\n", hmoec_version());
  } else {
    const hmoec_command *command = NULL;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
      if (strcmp(argv[1], commands[i]->name) == 0) command = commands[i];
    ok = command ? run_command(command, argc - 2, argv + 2, diagnostics) : unknown_command(argv[1], diagnostics);
  }
  errno = 0;
  if (ok && (fflush(stdout) != 0 || ferror(stdout)))
    ok = hmoec_error(diagnostics, (hmoec_location){0}, "cannot write to standard output: %s", strerror(errno ? errno : EIO));
  int status = ok ? 0 : (int)hmoec_diagnostics_status(diagnostics);
  hmoec_diagnostics_destroy(diagnostics);
  return status || ok ? status : HMOEC_INPUT_ERROR;
}
