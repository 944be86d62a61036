// SPDX-License-Identifier: Apache-2.0
// Trying something that may crash, hang or leave things behind, in a process of its own.
#ifndef VESPER_CLI_EXPERIMENT_H_
#define VESPER_CLI_EXPERIMENT_H_

#include <chrono>
#include <functional>
#include <string>

namespace vesper::cli {

struct ExperimentResult {
  bool succeeded = false;  ///< The experiment returned true.
  std::string text;        ///< What it printed and stored, or how it ended if it did not return.
};

/// Runs `experiment` in a child process. It stores text for the caller in its argument and returns
/// whether it succeeded; what it prints on stderr comes before that text. A crash, or an experiment
/// that takes longer than `limit`, is a failure that the text then describes. To be called while
/// this process has one thread.
ExperimentResult RunExperiment(const std::function<bool(std::string* text)>& experiment,
                               std::chrono::milliseconds limit);

}  // namespace vesper::cli

#endif  // VESPER_CLI_EXPERIMENT_H_
