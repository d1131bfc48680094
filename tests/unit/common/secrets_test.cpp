// Secrets, as a command reads them.
#include "common/params/secrets.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "common/error.hpp"
#include "tests/unit/fakes/log_of_errors.hpp"

namespace nbdstack {
namespace {

using testing::LogOfErrors;

class SecretTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "secret-XXXXXX";
    ::close(::mkstemp(name.data()));
    path_ = name;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void put(const std::string& text) const { std::ofstream(path_) << text; }
  static std::string read(const std::string& value) { return read_secret("secret", value); }

  LogOfErrors log_;
  std::filesystem::path path_;
};

TEST_F(SecretTest, LiteralFileAndDescriptor) {
  EXPECT_EQ(read("word"), "word");
  EXPECT_EQ(read(""), "");
  for (const char* text : {"from a file", "from a file\n", "from a file\nand more\n"}) {
    put(text);
    EXPECT_EQ(read("+" + path_.string()), "from a file");
    const int descriptor = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_EQ(read("-" + std::to_string(descriptor)), "from a file");
    EXPECT_EQ(::fcntl(descriptor, F_GETFD), -1) << "it is still open";
  }
}

TEST_F(SecretTest, WhatCannotBeReadIsNamedAndNoSecretIs) {
  for (const std::string& value :
       {"+" + path_.string(), std::string("+/no/such/file"), std::string("-0"), std::string("-2"),
        std::string("-9999"), std::string("-hidden")}) {
    EXPECT_THROW(read(value), Error) << value;
  }
  EXPECT_EQ(log_.count({path_.string(), "nothing"}), 1U);
  EXPECT_EQ(log_.count({"/no/such/file", "No such file"}), 1U);
  EXPECT_EQ(log_.count({"above 2"}), 2U);
  EXPECT_EQ(log_.count({"hidden"}), 0U);
}

}  // namespace
}  // namespace nbdstack
