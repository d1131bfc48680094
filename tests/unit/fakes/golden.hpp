// Golden vectors: files of tests/vectors that say how bytes lie on disk or in a store.
//
// A file that is named *.hex is text that shows each field in a line of its own:
//
//   000030 40 00 00 00 00 00 00 00   # what the bytes mean
//   001000 11*4096                   # a byte, and how often it comes
//   size 8192                        # the length of the whole file
//
// Bytes that no line names are zeros. Every other file is taken as it is.
// tests/support/golden.py makes such texts of bytes; docs/formats describes the formats.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace nbdstack::testing {

// `name` is the path below tests/vectors.
std::vector<std::byte> golden(const std::string& name);
std::string golden_text(const std::string& name);

// Adds a failure of GoogleTest, which names the first byte that differs, unless the bytes are those
// of the vector. Where the environment names a directory in NBDSTACK_WRITE_VECTORS, the bytes are
// written there as well, for golden.py.
void expect_golden(const std::string& name, std::span<const std::byte> written);
void expect_golden(const std::string& name, const std::string& written);

// Where two byte sequences differ first; empty: they are equal.
std::string first_difference(std::span<const std::byte> expected, std::span<const std::byte> found);

// The files of a directory below tests/vectors, by the names that the files have without ".hex".
std::map<std::string, std::vector<std::byte>> golden_directory(const std::string& name);

}  // namespace nbdstack::testing
