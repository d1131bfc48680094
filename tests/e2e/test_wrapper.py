"""build/nbdkit reads a command line as nbdkit does, so that every spelling serves our layers."""

import os
import pathlib
import pwd
import random
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

import nbd

from support.nbdkit import environment_with, our_nbdkit, system_nbdkit

OURS = r"filter: cache \(nbdstack "
OUR_PLUGIN = r"plugin: .*\(nbdstack "


def run(binary, *words, environment=None):
    """Runs it to its end with English messages; the CompletedProcess with its output as text."""
    return subprocess.run(
        [binary, *words], capture_output=True, text=True, timeout=60, check=False, input="",
        env=environment_with({"LC_ALL": "C"} | (environment or {})),
    )  # fmt: skip


def shown(*words, binary=None, environment=None):
    """What --help prints about the modules of this command line."""
    done = run(binary or our_nbdkit(), "--help", *words, environment=environment)
    if done.returncode != 0:
        raise AssertionError(f"{words}: {done.stderr}")
    return done.stdout


def modules(done):
    """The (kind, name) of each module that --help shows, in order; None where it was refused."""
    found = re.findall(r"^(filter|plugin): (\w+)", done.stdout, re.M)
    return found if done.returncode == 0 else None


def options():
    """The long options that nbdkit lists, without their dashes."""
    listed = run(system_nbdkit(), "--long-options").stdout.split()
    return [option.removeprefix("--") for option in listed]


def shortcuts():
    """Every beginning of every long option."""
    return sorted({name[:count] for name in options() for count in range(1, len(name) + 1)})


def verdict(done):
    """What came of a command line: the fault found in the options, else what was printed."""
    for fault in ("ambiguous", "requires an argument", "doesn't allow an argument", "unrecognized"):
        if fault in done.stderr:
            return done.returncode, fault
    return done.returncode, done.stdout, done.stderr


class Filters(unittest.TestCase):
    """--help names the filters that a command line loads, without starting any."""

    def assert_ours(self, *words, environment=None):
        self.assertRegex(shown(*words, environment=environment), OURS)

    def test_nbdkits_own_filter_is_told_from_ours(self):
        self.assertNotRegex(shown("--filter=cache", "null", binary=system_nbdkit()), OURS)
        self.assertIn("filter: cache", shown("--filter=cache", "null", binary=system_nbdkit()))

    def test_option_may_be_cut_short(self):
        for option in ("--fi", "--fil", "--filt", "--filte", "--filter"):
            with self.subTest(option):
                self.assert_ours(f"{option}=cache", "null")
                self.assert_ours(option, "cache", "null")

    def test_nbdkit_cuts_them_short_likewise(self):
        """The control of the test above."""
        for option in ("--fi", "--fil", "--filt", "--filte", "--filter"):
            with self.subTest(option):
                for words in ([f"{option}=cache"], [option, "cache"]):
                    found = shown(*words, "null", binary=system_nbdkit())
                    self.assertIn("filter: cache", found)

    def test_option_behind_the_plugin(self):
        self.assert_ours("null", "--filt=cache")
        self.assert_ours("null", "size=1M", "--filter", "cache")

    def test_options_with_values_apart(self):
        """A value may look like an option, or like a module. nbdkit refuses some of them, in words
        that show that it took them for values."""
        for option in ("-e", "-g", "-P", "-t", "-U", "-u", "-D", "--grou", "--pid", "--exp"):
            for value in ("s3", "--filter=cache", "--", "-r"):
                with self.subTest(f"{option} {value}"):
                    words = ("--help", option, value, "--filter=delay", "null")
                    done = run(our_nbdkit(), *words)
                    self.assertEqual(verdict(done), verdict(run(system_nbdkit(), *words)))

    def test_letters_in_one_word(self):
        self.assert_ours("-rfe", "--filter=delay", "--filter=cache", "null")
        self.assert_ours("-fvU-", "--filter=cache", "null")
        self.assertNotRegex(shown("-fe--filter=cache", "--filter=delay", "null"), OURS)

    def test_end_of_options(self):
        self.assert_ours("--filter=cache", "--", "null")
        self.assertNotRegex(shown("--filter=delay", "--", "null", "--filter=cache"), OURS)

    def test_posixly_correct(self):
        """The first word that is no option ends them then."""
        posix = {"POSIXLY_CORRECT": "1"}
        self.assert_ours("--filter=cache", "null", environment=posix)
        self.assertNotRegex(shown("null", "--filter=cache", environment=posix), OURS)

    def test_path_of_a_filter_is_left_alone(self):
        config = run(system_nbdkit(), "--dump-config").stdout
        path = re.search("^filterdir=(.*)$", config, re.M)[1] + "/nbdkit-cache-filter.so"
        self.assertNotRegex(shown(f"--filter={path}", "null"), OURS)

    def test_plugin_is_ours_by_every_spelling(self):
        for words in ("s3", "-- s3", "-r s3", "-U null s3", "-fe null --filter delay s3"):
            with self.subTest(words):
                self.assertRegex(shown(*words.split()), OUR_PLUGIN)

    def test_symbolic_links(self):
        with tempfile.TemporaryDirectory() as directory:
            first, second = pathlib.Path(directory) / "nbdkit", pathlib.Path(directory) / "in turn"
            first.symlink_to(pathlib.Path(our_nbdkit()).resolve())
            second.symlink_to("nbdkit")
            for link in (first, second):
                self.assertRegex(shown("--filter=cache", "null", binary=link), OURS)
            path = {"PATH": f"{directory}:{os.environ['PATH']}"}
            found = shown("--filter=cache", "null", binary="nbdkit", environment=path)
            self.assertRegex(found, OURS)

    def test_module_that_was_not_built_is_refused(self):
        """Instead of nbdkit's own of that name."""
        with tempfile.TemporaryDirectory() as directory:
            copy = shutil.copy(our_nbdkit(), directory)
            done = run(copy, "--filt", "cache", "null", "--help")
            self.assertEqual(done.returncode, 1)
            self.assertIn("nbdkit-cache-filter.so has not been built", done.stderr)


class Options(unittest.TestCase):
    def test_every_shortcut_means_what_nbdkit_takes_it_for(self):
        """Whole names also with a value in the word. Without a plugin nbdkit serves nothing."""
        words = [*(f"--{name}" for name in shortcuts()), *(f"--{name}=" for name in options())]
        self.assertGreater(len(words), 200)
        for word in words:
            self.assert_alike(word)

    def assert_alike(self, word):
        """nbdkit and the wrapper come to the same verdict."""
        with self.subTest(word):
            ours, theirs = run(our_nbdkit(), word), run(system_nbdkit(), word)
            self.assertEqual(verdict(ours), verdict(theirs))

    def test_every_letter_has_a_value_where_it_has_one_for_nbdkit(self):
        letters = run(system_nbdkit(), "--short-options").stdout.split()
        self.assertGreater(len(letters), 10)
        for letter in letters:
            self.assert_alike(letter)

    def test_options_that_nbdkit_does_not_list(self):
        for word in ("--long-o", "--short-options"):
            self.assert_alike(word)

    def test_refusals_are_clear(self):
        for words, message in (
            (["--fliter=cache", "null"], "unrecognized option '--fliter=cache'"),
            (["--f=cache", "null"], "option '--f=cache' is ambiguous"),
            (["-W", "null"], "invalid option -- 'W'"),
            (["null", "-U"], "option requires an argument -- 'U'"),
        ):
            with self.subTest(words):
                done = run(our_nbdkit(), *words)
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, message)

    def test_other_nbdkit_is_refused_where_its_options_matter(self):
        """An option that only the newer one knows may move the words: nothing is guessed."""
        with tempfile.TemporaryDirectory() as directory:
            other, copy = pathlib.Path(directory) / "other", pathlib.Path(directory) / "nbdkit"
            other.write_text("#!/bin/sh\necho --filter\necho --new\n")
            text = pathlib.Path(our_nbdkit()).read_text()
            copy.write_text(re.sub('^nbdkit=".*"$', f'nbdkit="{other}"', text, flags=re.M))
            for file in (other, copy):
                file.chmod(stat.S_IRWXU)
            done = run(copy, "--brand-new", "--filter=delay", "null")
            self.assertEqual(done.returncode, 1)
            self.assertIn("has other options than the one that", done.stderr)


class RandomCommandLines(unittest.TestCase):
    """Options, values and modules in any order, a few of which are accepted."""

    WORDS = (
        "-f -r -e -fe -U -Ux -fvU -- --filter --filt --filter=cache --fil=delay cache delay "
        "readahead --exp --export=x --read --user -u root null memory size=1M --swap --no-f -t "
        "4 -t4 --run --ru=x -n -s --filter=readahead"
    ).split()

    def test_wrapper_loads_what_nbdkit_would_but_ours(self):
        accepted = 0
        for seed in range(200):
            generator = random.Random(seed)
            words = generator.choices(self.WORDS, k=generator.randint(1, 8))
            posix = {"POSIXLY_CORRECT": "1"} if seed % 5 == 0 else {}
            with self.subTest(seed=seed, words=words, posix=posix):
                ours = run(our_nbdkit(), "--help", *words, "null", environment=posix)
                theirs = run(system_nbdkit(), "--help", *words, "null", environment=posix)
                if "is given twice" in ours.stderr:  # by one of our filters
                    continue
                self.assertEqual(modules(ours), modules(theirs))
                self.assertNotRegex(ours.stdout, r"(?m)^filter: (cache|readahead)(?! \(nbdstack )")
                accepted += modules(ours) is not None
        self.assertGreater(accepted, 50)


class Servers(unittest.TestCase):
    def test_words_arrive_whole(self):
        """Spaces, quotes, newlines and dollars reach the plugin and --run as they are."""
        text = ' a  "b"\n$HOME `c` \\ * '
        disk = "raw=it's" + text
        program = f"printf %s '{text}'; nbdcopy \"$uri\" - | head -c {len(disk) - 4}"
        words = ["-U", "-", "--filt=cache", "data", disk, "--run", program]
        done = run(our_nbdkit(), *words)
        self.assertEqual((done.returncode, done.stdout), (0, text + disk[4:]), done.stderr)

    def test_run_gets_the_uri_and_its_status_returns(self):
        program = 'nbdinfo --size "$uri"; exit 7'
        words = ["-U", "-", "--filt=cache", "--run", program, "null", "3M"]
        done = run(our_nbdkit(), *words)
        self.assertEqual((done.returncode, done.stdout), (7, "3145728\n"), done.stderr)
        self.assertEqual(done.stderr, "")

    def test_one_client_on_standard_input(self):
        client = nbd.NBD()
        words = ["-s", "--exit-w", "--filter", "cache", "memory", "1M"]
        client.connect_command([our_nbdkit(), *words])
        client.pwrite(b"x" * 512, 0)
        self.assertEqual(client.pread(512, 0), b"x" * 512)
        client.shutdown()

    def test_socket_of_a_service_manager(self):
        """The server is the wrapper's process: LISTEN_PID fits. (libnbd activates it so.)"""
        client = nbd.NBD()
        client.connect_systemd_socket_activation([our_nbdkit(), "--filt=cache", "memory", "1M"])
        self.assertEqual(client.get_size(), 1 << 20)
        client.shutdown()

    def test_user_apart(self):
        """-u NAME before the filters. Without root one may only be oneself."""
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        with tempfile.TemporaryDirectory() as directory:
            pathlib.Path(directory).chmod(0o777)
            pid_file = pathlib.Path(directory) / "pid"
            words = ["-s", "-P", str(pid_file), "-u", user, "--filt", "md5", "memory", "1M"]
            client = nbd.NBD()
            client.connect_command([our_nbdkit(), *words])
            process = pathlib.Path("/proc") / pid_file.read_text().strip()
            uid = re.search(r"^Uid:\t(\d+)", (process / "status").read_text(), re.M)[1]
            self.assertEqual(int(uid), pwd.getpwnam(user).pw_uid)
            self.assertIn("nbdkit-md5-filter.so", (process / "cmdline").read_text())
            client.shutdown()


if __name__ == "__main__":
    unittest.main()
