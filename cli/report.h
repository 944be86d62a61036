// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_CLI_REPORT_H_
#define VESPER_CLI_REPORT_H_

#include <string>

namespace vesper::cli {

enum class Verdict {
  kGood,     ///< As it should be.
  kMissing,  ///< Not there, and programs run without it.
  kWarning,  ///< Programs run, but something may surprise.
  kBad,      ///< Programs will not run.
};

/// Prints findings on stdout as they come, in colour if that is a terminal (and NO_COLOR is not
/// set).
class Report {
 public:
  Report();

  void Section(const std::string& title);
  /// One line; `advice`, if any, says on a second line what to do.
  void Add(Verdict verdict, const std::string& finding, const std::string& advice = "");

  int bad_count() const { return bad_count_; }

 private:
  const bool has_colour_;
  int bad_count_ = 0;
};

}  // namespace vesper::cli

#endif  // VESPER_CLI_REPORT_H_
