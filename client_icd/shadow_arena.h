// SPDX-License-Identifier: Apache-2.0
//
// Where shadows live: one file in memory for all shadows of a session, mapped twice. The program
// writes through one view, which is tracked; the driver writes through the other, which is not, so
// that bytes from the host never look like the program's. The program's views lie side by side in
// reserved address ranges that belong to nobody else: one scan may cover many of them.
//
// Where there is no such file (memfd_create is forbidden, or the program may not have large files)
// shadows are anonymous memory with one view, and are compared instead of tracked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "client_icd/write_tracker.h"
#include "transport/unique_fd.h"

namespace vesper::client {

/// Not thread-safe: Shadows guards it.
class ShadowArena {
 public:
  /// One shadow's memory; zeros at first.
  struct Piece {
    std::byte* program = nullptr;
    std::byte* driver = nullptr;
    uint64_t file_offset = 0;
    uint64_t bytes = 0;  // a multiple of 64 KiB, maybe more than was asked for
    bool in_file = false;
    bool is_imported = false;  // the program's own memory, and not the arena's
    bool is_full = false;      // every page has been written, which stays so
  };

  ShadowArena();
  ~ShadowArena();
  ShadowArena(const ShadowArena&) = delete;
  ShadowArena& operator=(const ShadowArena&) = delete;

  /// The file, or -1. Its seals let it grow, and never become smaller.
  int file() const { return file_.get(); }
  /// True if pieces have two views, and can be mapped at other places.
  bool HasFile() const { return static_cast<bool>(file_); }

  /// Memory for `bytes` bytes; false if there is none.
  bool Allocate(uint64_t bytes, Piece* piece);
  /// The program's view must be as Allocate made it, or given up.
  void Free(const Piece& piece);
  /// The program keeps the address range of its view, which is never touched again here.
  void GiveUpProgramView(Piece& piece);

  /// Gives the file all pages of a range of the piece; false if the system refuses.
  bool Fill(const Piece& piece, uint64_t begin, uint64_t end) const;

  /// Maps `bytes` bytes of the piece from `offset` at `address`, in place of what is there, or
  /// anywhere if that is null. Null if the system refuses.
  std::byte* MapAt(const Piece& piece, uint64_t offset, std::byte* address, uint64_t bytes) const;
  /// Makes a range inaccessible but keeps it reserved; false leaves it as it was.
  static bool Reserve(PageRange range);
  static void Unmap(PageRange range);

  /// Calls visit(begin, end) for each run of pages, in bytes from the piece's start, within
  /// [begin, end) that somebody may have written since the piece was allocated.
  template <typename Visit>
  void ForEachWritten(Piece& piece, uint64_t begin, uint64_t end, const Visit& visit) const {
    while (begin < end) {
      uint64_t data = begin;
      uint64_t hole = end;
      if (piece.in_file && !piece.is_full && !FindData(piece, end, &data, &hole)) {
        return;
      }
      visit(data, hole);
      begin = hole;
    }
  }

 private:
  struct Block {
    PageRange program;
    PageRange driver;
    uint64_t file_offset = 0;
    uint64_t used = 0;                      // bytes from the start that were given out
    std::map<uint64_t, uint64_t> free;      // of those: offset to bytes
    std::map<std::byte*, std::byte*> kept;  // what the program keeps of its views
  };

  bool FindData(Piece& piece, uint64_t limit, uint64_t* data, uint64_t* hole) const;
  Block* AddBlock(uint64_t bytes);
  Block* BlockOf(const std::byte* program);
  bool AllocateFrom(Block& block, uint64_t bytes, Piece* piece);

  transport::UniqueFd file_;
  uint64_t file_bytes_ = 0;
  std::vector<std::unique_ptr<Block>> blocks_;
};

}  // namespace vesper::client
