// SPDX-License-Identifier: Apache-2.0
//
// Sets the figures of several runs side by side.
//
// usage: figure_table RUN=FILE...
//
// Each file holds the figures of one run (figures.h). Runs are named `native`, and `METHOD@LINK`
// for the others; `limit@LINK` is what that link could do at best, and every method over the same
// link is held against it.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace vesper::bench {
namespace {

constexpr const char* kReference = "native";
constexpr std::string_view kLimit = "limit";
constexpr std::string_view kMachine = "machine";  // limits that are figures of their own

struct Figure {
  std::string unit;
  double median = 0;
  double best = 0;
  std::string phases;
};

struct Run {
  std::string name;
  std::map<std::string, Figure> figures;

  /// What comes after the @; empty if there is none.
  std::string Link() const {
    const size_t at = name.find('@');
    return at == std::string::npos ? std::string() : name.substr(at + 1);
  }
  std::string Title() const {
    return Link().empty() ? name : name.substr(0, name.find('@')) + ", " + Link();
  }
};

std::string NextField(std::string& line) {
  const size_t tab = line.find('\t');
  std::string field = line.substr(0, tab);
  line = tab == std::string::npos ? std::string() : line.substr(tab + 1);
  return field;
}

/// The run's figures; their names are added to `names` in the order of their first appearance.
bool ReadRun(const std::string& argument, Run& run, std::vector<std::string>& names) {
  const size_t equals = argument.find('=');
  if (equals == std::string::npos) {
    std::fprintf(stderr, "figure_table: expected RUN=FILE, got '%s'\n", argument.c_str());
    return false;
  }
  run.name = argument.substr(0, equals);
  std::ifstream file(argument.substr(equals + 1));
  if (!file) {
    std::fprintf(stderr, "figure_table: cannot read '%s'\n", argument.c_str() + equals + 1);
    return false;
  }
  for (std::string line; std::getline(file, line);) {
    const std::string name = NextField(line);
    Figure figure;
    figure.unit = NextField(line);
    figure.median = std::strtod(NextField(line).c_str(), nullptr);
    figure.best = std::strtod(NextField(line).c_str(), nullptr);
    figure.phases = line;
    bool is_known = false;
    for (const std::string& known : names) {
      is_known = is_known || known == name;
    }
    if (!is_known) {
      names.push_back(name);
    }
    run.figures[name] = figure;
  }
  return true;
}

/// "0.57" or "12"; a rate of 0.57 is slower than the reference, a time of 12 takes 12 times as
/// long.
std::string Ratio(const Figure& figure, const Figure* reference) {
  if (reference == nullptr || reference->median == 0 || figure.unit.ends_with(" more")) {
    return "";
  }
  const double ratio = figure.median / reference->median;
  char text[32];
  std::snprintf(text, sizeof(text), ratio < 10 ? "%.2f" : "%.0f", ratio);
  return text;
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value < 10 ? "%.3f" : "%.1f", value);
  return text;
}

/// False for a limit of a figure that nobody took.
bool IsWanted(const std::vector<Run>& runs, const std::string& name) {
  for (const Run& run : runs) {
    const bool is_limit_of_link = run.name.starts_with(kLimit) && run.Link() != kMachine;
    if (!is_limit_of_link && run.figures.contains(name)) {
      return true;
    }
  }
  return false;
}

const Figure* Find(const std::vector<Run>& runs, const std::string& run, const std::string& name) {
  for (const Run& one : runs) {
    if (one.name == run) {
      const auto found = one.figures.find(name);
      return found == one.figures.end() ? nullptr : &found->second;
    }
  }
  return nullptr;
}

void PrintRow(const std::vector<Run>& runs, const Run& run, const std::string& name) {
  const auto found = run.figures.find(name);
  if (found == run.figures.end()) {
    return;
  }
  const Figure& figure = found->second;
  const bool is_reference = run.name == kReference || run.name.starts_with(kLimit);
  const std::string of_native = is_reference ? "" : Ratio(figure, Find(runs, kReference, name));
  const std::string of_limit =
      is_reference ? "" : Ratio(figure, Find(runs, std::string(kLimit) + "@" + run.Link(), name));
  std::printf("  %-24s %10s %10s %-8s %8s %8s  %s\n", run.Title().c_str(),
              Number(figure.median).c_str(), Number(figure.best).c_str(), figure.unit.c_str(),
              of_native.c_str(), of_limit.c_str(), figure.phases.c_str());
}

int Main(int argc, char** argv) {
  std::vector<Run> runs;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    if (!ReadRun(argv[i], runs.emplace_back(), names)) {
      return 1;
    }
  }
  std::printf("  %-24s %10s %10s %-8s %8s %8s\n", "", "median", "best", "", "x native", "x limit");
  for (const std::string& name : names) {
    if (!IsWanted(runs, name)) {
      continue;
    }
    std::printf("%s\n", name.c_str());
    for (const Run& run : runs) {
      PrintRow(runs, run, name);
    }
  }
  return 0;
}

}  // namespace
}  // namespace vesper::bench

int main(int argc, char** argv) { return vesper::bench::Main(argc, argv); }
