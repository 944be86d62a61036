// SPDX-License-Identifier: Apache-2.0
#include "cli/report.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace vesper::cli {
namespace {

struct Mark {
  const char* text;
  const char* colour;
};

Mark MarkOf(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return {"ok  ", "\033[32m"};
    case Verdict::kMissing:
      return {"no  ", "\033[2m"};
    case Verdict::kWarning:
      return {"warn", "\033[33m"};
    case Verdict::kBad:
      break;
  }
  return {"FAIL", "\033[31m"};
}

}  // namespace

Report::Report()
    : has_colour_(::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr) {}

void Report::Section(const std::string& title) {
  std::printf("%s%s%s\n", has_colour_ ? "\033[1m" : "", title.c_str(),
              has_colour_ ? "\033[0m" : "");
  std::fflush(stdout);
}

void Report::Add(Verdict verdict, const std::string& finding, const std::string& advice) {
  bad_count_ += verdict == Verdict::kBad ? 1 : 0;
  const Mark mark = MarkOf(verdict);
  std::printf("  %s%s%s  %s\n", has_colour_ ? mark.colour : "", mark.text,
              has_colour_ ? "\033[0m" : "", finding.c_str());
  if (!advice.empty()) {
    std::printf("        -> %s\n", advice.c_str());
  }
  // What follows may take a while, or start processes that print as well.
  std::fflush(stdout);
}

}  // namespace vesper::cli
