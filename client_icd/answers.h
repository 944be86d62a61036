// SPDX-License-Identifier: Apache-2.0
//
// The guest's memory of what the host has answered.
//
// Problem: programs ask for facts that never change (what can be done with a format, how much
// memory such an image needs), one at a time, by the thousand, in each run. Usage: policy.toml's
// [[cached]] says which commands ask for nothing else. Their entry points go through Ask or
// AskAbout (below), which make the call only if the same was not asked before. Goals: an answer is
// the one that the host would give. What is remembered is the reply's bytes, by a hash of
// everything that they depend on:
//   - the set-up (SetupIdentity): server, devices, drivers, and what the program says of itself,
//     for drivers treat some programs in their own way;
//   - the physical device, or the device with everything that was enabled at its creation;
//   - the request as the host would get it, which names the structs that the program wants filled
//     in, and has room for arrays. Padding counts as zero.
//   - for a question about an object, what the object was created with. A request that names any
//     other object is not remembered.
// Errors of the moment (memory, a lost device), and replies about objects that the host could not
// make, are not remembered. VESPER_DEBUG=sync asks always. What was learnt is saved for the next
// session when this one ends (answer_file.h).
#pragma once

#include <vulkan/vulkan_core.h>

#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>

#include "client_icd/answer_file.h"
#include "proto/hash.h"
#include "proto/record.h"
#include "proto/setup.h"

namespace vesper::client {

class Device;
class Session;

/// What all answers of a session depend on.
proto::Hash128 SetupIdentity(const proto::Hello& hello, const proto::Welcome& welcome);

/// A hash of a struct with its chain, as the host gets it, and of `salt`; nothing if it names
/// objects, or memory is out.
std::optional<proto::Hash128> HashOfStruct(const Session& session, uint16_t record_index,
                                           const void* value, const proto::Hash128& salt);

/// Thread-safe, but for Load.
class Answers {
 public:
  /// Remembers in `folder`, or only as long as it lives if that is empty.
  Answers(const proto::Hash128& identity, std::string folder)
      : identity_(identity), folder_(std::move(folder)) {}

  /// Reads what earlier sessions have learnt.
  void Load();
  /// Saves what this one has learnt. Takes no lock that another thread may hold for long; if one
  /// does, nothing is saved.
  void Save();

  /// Answers into `args`, from memory or by a call; as Session::Call. `result` is the command's
  /// return value in `args`, if it has one. `creation` is what the object that the request names
  /// was created with; null for a request that names none.
  bool Ask(Session& session, const proto::Hash128& scope, uint16_t number, void* args,
           const VkResult* result, const proto::Hash128* creation);

  /// What was remembered under `key`, or null. For facts that follow from several answers.
  AnswerBytes Find(const proto::Hash128& key);
  void Remember(const proto::Hash128& key, std::span<const std::byte> reply);

 private:
  struct Hasher {
    size_t operator()(const proto::Hash128& key) const { return key.low; }
  };
  struct Known {
    AnswerBytes reply;
    bool is_used = false;  // in this session
  };

  void Forget(const proto::Hash128& key);

  const proto::Hash128 identity_;
  const std::string folder_;
  std::mutex mutex_;
  std::unordered_map<proto::Hash128, Known, Hasher> known_;
  size_t bytes_ = 0;
  bool has_news_ = false;
};

/// What an object was created with, for AskAbout; nothing if that does not tell everything. With
/// the device's answer_scope.
std::optional<proto::Hash128> CreationOf(Device& device, VkImage image);
std::optional<proto::Hash128> CreationOf(Device& device, VkDescriptorSetLayout layout);
std::optional<proto::Hash128> CreationOf(Device& device, VkRenderPass render_pass);
/// The same, and nothing for images whose layout is the driver's own affair: two of them that were
/// created with the same need not have the same.
std::optional<proto::Hash128> CreationOfLinear(Device& device, VkImage image);

/// Called when an object is created.
template <typename Owner>
std::optional<proto::Hash128> HashOfCreation(Owner& owner, uint16_t record_index,
                                             const void* create_info) {
  return owner.session().answers() != nullptr
             ? HashOfStruct(owner.session(), record_index, create_info, {})
             : std::nullopt;
}

/// Session::Call for a question that never gets another answer. The owner is a Device or
/// PhysicalDevice; where its answer_scope() is empty, and in a session without Answers, the host is
/// asked each time.
template <typename Owner>
bool Ask(Owner& owner, uint16_t number, void* args, const VkResult* result = nullptr) {
  Answers* answers = owner.session().answers();
  const std::optional<proto::Hash128>& scope = owner.answer_scope();
  return answers != nullptr && scope
             ? answers->Ask(owner.session(), *scope, number, args, result, nullptr)
             : owner.session().Call(number, args);
}

/// The same about an object; without `creation` (CreationOf) the host is asked.
template <typename Owner>
bool AskAbout(Owner& owner, uint16_t number, void* args,
              const std::optional<proto::Hash128>& creation) {
  Answers* answers = owner.session().answers();
  const std::optional<proto::Hash128>& scope = owner.answer_scope();
  return answers != nullptr && scope && creation
             ? answers->Ask(owner.session(), *scope, number, args, nullptr, &*creation)
             : owner.session().Call(number, args);
}

}  // namespace vesper::client
