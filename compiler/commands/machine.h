/* hmoec tune --machine: the numbers that times are predicted by, of the machine that it runs on. */
#ifndef HMOEC_COMMANDS_MACHINE_H
#define HMOEC_COMMANDS_MACHINE_H

#include "commands/commands.h"

/* Measures, prints, and with -o adds the machine to a tuning file. Takes some seconds. */
bool hmoec_machine_measure(const hmoec_arguments *arguments, hmoec_diagnostics *diagnostics);

#endif
