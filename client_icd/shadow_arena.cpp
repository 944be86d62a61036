// SPDX-License-Identifier: Apache-2.0
#include "client_icd/shadow_arena.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vesper::client {
namespace {

/// Address space taken at a time, twice. It costs nothing where address space is not limited.
constexpr uint64_t kBlockBytes = uint64_t{64} << 30;
/// Large shadows begin where a page table does, small ones where a tracked block does.
constexpr uint64_t kSmallAlignment = 64u << 10;
constexpr uint64_t kLargeAlignment = 2u << 20;

uint64_t RoundUp(uint64_t value, uint64_t to) { return (value + to - 1) / to * to; }

bool IsUnlimited(int resource) {
  rlimit limit{};
  return ::getrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0 &&
         limit.rlim_cur == RLIM_INFINITY;
}

PageRange ReserveAnywhere(uint64_t bytes) {
  void* range =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    return {};
  }
  auto* begin = static_cast<std::byte*>(range);
  return {begin, begin + bytes};
}

}  // namespace

ShadowArena::ShadowArena() {
  // A file that grows past RLIMIT_FSIZE would bring the program a signal.
  if (IsUnlimited(RLIMIT_FSIZE)) {
    file_.Reset(::memfd_create("vesper-shadows", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (file_) {
      // A worker that shares it must not find that pages are gone. Without the seal it refuses.
      ::fcntl(file_.get(), F_ADD_SEALS, F_SEAL_SHRINK);
    }
  }
}

ShadowArena::~ShadowArena() {
  for (const auto& block : blocks_) {
    Unmap(block->driver);
    std::byte* begin = block->program.begin;
    for (const auto& [kept_begin, kept_end] : block->kept) {
      Unmap({begin, kept_begin});
      begin = kept_end;
    }
    Unmap({begin, block->program.end});
  }
}

bool ShadowArena::Allocate(uint64_t bytes, Piece* piece) {
  // Whole slots, so that neighbours adjoin and are scanned together.
  const uint64_t whole = RoundUp(std::max<uint64_t>(bytes, 1), kSmallAlignment);
  if (whole < bytes) {
    return false;
  }
  if (file_) {
    for (const auto& block : blocks_) {
      if (AllocateFrom(*block, whole, piece)) {
        return true;
      }
    }
    Block* block = AddBlock(RoundUp(whole, kLargeAlignment));
    if (block != nullptr && AllocateFrom(*block, whole, piece)) {
      return true;
    }
  }
  void* memory = ::mmap(nullptr, whole, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    return false;
  }
  piece->program = piece->driver = static_cast<std::byte*>(memory);
  piece->bytes = whole;
  piece->in_file = false;
  return true;
}

ShadowArena::Block* ShadowArena::AddBlock(uint64_t bytes) {
  const uint64_t size = IsUnlimited(RLIMIT_AS) ? std::max(bytes, kBlockBytes) : bytes;
  auto block = std::make_unique<Block>();
  // A reservation need not begin where a page table does: take so much more that one fits.
  block->program = ReserveAnywhere(size + kLargeAlignment);
  block->driver = ReserveAnywhere(size + kLargeAlignment);
  block->file_offset = file_bytes_;
  if (block->program.begin == nullptr || block->driver.begin == nullptr ||
      ::ftruncate(file_.get(), static_cast<off_t>(file_bytes_ + size)) != 0) {
    Unmap(block->program);
    Unmap(block->driver);
    return nullptr;
  }
  for (PageRange* range : {&block->program, &block->driver}) {
    const auto address = reinterpret_cast<uintptr_t>(range->begin);
    std::byte* const begin = range->begin + (RoundUp(address, kLargeAlignment) - address);
    Unmap({range->begin, begin});
    Unmap({begin + size, range->end});
    *range = {begin, begin + size};
  }
  file_bytes_ += size;
  blocks_.push_back(std::move(block));
  return blocks_.back().get();
}

bool ShadowArena::AllocateFrom(Block& block, uint64_t bytes, Piece* piece) {
  const uint64_t alignment = bytes >= kLargeAlignment ? kLargeAlignment : kSmallAlignment;
  uint64_t offset = UINT64_MAX;
  for (auto& [begin, size] : block.free) {
    const uint64_t aligned = RoundUp(begin, alignment);
    if (aligned - begin <= size && size - (aligned - begin) >= bytes) {
      offset = aligned;
      const uint64_t before = aligned - begin;
      const uint64_t after = size - before - bytes;
      const uint64_t hole = begin;
      block.free.erase(hole);
      if (before != 0) {
        block.free[hole] = before;
      }
      if (after != 0) {
        block.free[aligned + bytes] = after;
      }
      break;
    }
  }
  if (offset == UINT64_MAX) {
    const uint64_t aligned = RoundUp(block.used, alignment);
    if (aligned > block.program.bytes() || block.program.bytes() - aligned < bytes) {
      return false;
    }
    if (aligned != block.used) {
      block.free[block.used] = aligned - block.used;
    }
    block.used = aligned + bytes;
    offset = aligned;
  }
  piece->bytes = bytes;
  piece->file_offset = block.file_offset + offset;
  piece->in_file = true;
  std::byte* const program = block.program.begin + offset;
  std::byte* const driver = block.driver.begin + offset;
  piece->program = MapAt(*piece, 0, program, bytes);
  piece->driver = MapAt(*piece, 0, driver, bytes);
  if (piece->program == nullptr || piece->driver == nullptr) {
    Reserve({program, program + bytes});
    Reserve({driver, driver + bytes});
    block.free[offset] = bytes;
    return false;
  }
  return true;
}

void ShadowArena::Free(const Piece& piece) {
  if (!piece.in_file) {
    Unmap({piece.driver, piece.driver + piece.bytes});
    return;
  }
  // The next owner finds zeros. Without the pages it costs nothing to keep the file that long.
  const bool is_empty =
      ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(piece.file_offset), static_cast<off_t>(piece.bytes)) == 0;
  Reserve({piece.driver, piece.driver + piece.bytes});
  if (piece.program == nullptr) {
    return;
  }
  Reserve({piece.program, piece.program + piece.bytes});
  if (!is_empty) {
    return;
  }
  Block& block = *BlockOf(piece.program);
  uint64_t begin = static_cast<uint64_t>(piece.program - block.program.begin);
  uint64_t end = begin + piece.bytes;
  if (const auto next = block.free.find(end); next != block.free.end()) {
    end += next->second;
    block.free.erase(next);
  }
  if (auto before = block.free.lower_bound(begin); before != block.free.begin()) {
    --before;
    if (before->first + before->second == begin) {
      begin = before->first;
      block.free.erase(before);
    }
  }
  block.free[begin] = end - begin;
}

ShadowArena::Block* ShadowArena::BlockOf(const std::byte* program) {
  const auto found = std::ranges::find_if(blocks_, [program](const auto& block) {
    return program >= block->program.begin && program < block->program.end;
  });
  return found == blocks_.end() ? nullptr : found->get();
}

void ShadowArena::GiveUpProgramView(Piece& piece) {
  BlockOf(piece.program)->kept[piece.program] = piece.program + piece.bytes;
  piece.program = nullptr;
}

bool ShadowArena::Fill(const Piece& piece, uint64_t begin, uint64_t end) const {
  return piece.in_file && ::fallocate(file_.get(), 0, static_cast<off_t>(piece.file_offset + begin),
                                      static_cast<off_t>(end - begin)) == 0;
}

std::byte* ShadowArena::MapAt(const Piece& piece, uint64_t offset, std::byte* address,
                              uint64_t bytes) const {
  const int fixed = address == nullptr ? 0 : MAP_FIXED;
  void* view = ::mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | fixed,
                      file_.get(), static_cast<off_t>(piece.file_offset + offset));
  if (view == MAP_FAILED) {
    return nullptr;
  }
  // As device memory is: nobody wants gigabytes of it in a core dump.
  ::madvise(view, bytes, MADV_DONTDUMP);
  return static_cast<std::byte*>(view);
}

bool ShadowArena::Reserve(PageRange range) {
  return range.bytes() == 0 ||
         ::mmap(range.begin, range.bytes(), PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

void ShadowArena::Unmap(PageRange range) {
  if (range.bytes() != 0) {
    ::munmap(range.begin, range.bytes());
  }
}

bool ShadowArena::FindData(Piece& piece, uint64_t limit, uint64_t* data, uint64_t* hole) const {
  const auto start = static_cast<off_t>(piece.file_offset);
  const auto end = static_cast<off_t>(limit);
  const off_t found = ::lseek(file_.get(), start + static_cast<off_t>(*data), SEEK_DATA);
  if (found < 0) {
    // ENXIO: no data up to the end of the file. Anything else: all of it may be data.
    return errno != ENXIO;
  }
  if (found - start >= end) {
    return false;
  }
  *data = static_cast<uint64_t>(found - start);
  const off_t after = ::lseek(file_.get(), found, SEEK_HOLE);
  *hole = after < 0 ? limit : static_cast<uint64_t>(std::min(after - start, end));
  // The end is sought beyond the piece, through neighbours that are full as well: once is enough.
  piece.is_full = found == start && after - start >= static_cast<off_t>(piece.bytes);
  return true;
}

}  // namespace vesper::client
