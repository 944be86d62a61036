// SPDX-License-Identifier: Apache-2.0
#ifndef VESPER_TESTS_FRAMEWORK_SCOPED_VARIABLE_H_
#define VESPER_TESTS_FRAMEWORK_SCOPED_VARIABLE_H_

#include <cstdlib>
#include <optional>
#include <string>

namespace vesper::tests {

// A variable of the environment, as it was again when this goes.
class ScopedVariable {
 public:
  ScopedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = ::getenv(name)) {
      old_ = old;
    }
    ::setenv(name, value, 1);
  }
  ~ScopedVariable() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  ScopedVariable(const ScopedVariable&) = delete;
  ScopedVariable& operator=(const ScopedVariable&) = delete;

 private:
  const char* const name_;
  std::optional<std::string> old_;
};

}  // namespace vesper::tests

#endif  // VESPER_TESTS_FRAMEWORK_SCOPED_VARIABLE_H_
