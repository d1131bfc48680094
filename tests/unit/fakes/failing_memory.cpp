#include "tests/unit/fakes/failing_memory.hpp"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

std::atomic<long> left = 0;  // allocations until one fails; 0: none does
std::atomic<bool> everywhere = true;
thread_local bool here = false;  // where not everywhere
thread_local int safe = 0;

void* allocate(std::size_t size) {
  const bool counts = safe == 0 && (everywhere || here);
  long before = counts ? left.load() : 0;
  while (before > 0 && !left.compare_exchange_weak(before, before - 1)) {
  }
  void* const memory = before == 1 ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) {
  return allocate(size);
}
void* operator new[](std::size_t size) {
  return allocate(size);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace nbdstack::testing {

void fail_allocation(long count, Failing where) {
  everywhere = where == Failing::in_all_threads;
  here = true;
  left = count;
}

long stop_failing() {
  here = false;
  return left.exchange(0);
}

SafeMemory::SafeMemory() {
  ++safe;
}

SafeMemory::~SafeMemory() {
  --safe;
}

}  // namespace nbdstack::testing
