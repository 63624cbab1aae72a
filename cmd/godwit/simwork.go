package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"godwit/sim"
)

// newSimWorkCommand is what the other commands start: a run uses one thread only, and is faster in a process of its own.
func newSimWorkCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "work",
		Short:  "Run the seeds that standard input asks for, and print what comes of them, as JSON",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			signal.Ignore(os.Interrupt) // the terminal sends it to parent and workers alike, and the parent ends this one
			return simWork(c.InOrStdin(), c.OutOrStdout())
		},
	}
}

// simTask is what a worker is asked for: a JSON object.
type simTask struct {
	Seed        uint64
	Lines       bool `json:",omitempty"` // print the trace line by line
	Checkpoints bool `json:",omitempty"` // with the result
	Planted     bool `json:",omitempty"` // see sim.Config
}

// simAnswer is what a worker prints: lines, if they were asked for, and then the result.
type simAnswer struct {
	Line   *sim.Line   `json:",omitempty"`
	Result *sim.Result `json:",omitempty"`
}

// simWork does the tasks in in until it ends.
func simWork(in io.Reader, out io.Writer) error {
	cfg, tidier := simConfig(), newSimTidier()
	tasks, buffered := json.NewDecoder(in), bufio.NewWriterSize(out, 1<<16)
	enc := json.NewEncoder(buffered)
	for {
		var task simTask
		if err := tasks.Decode(&task); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("a worker's task: %w", err)
		}
		var broken error
		cfg.Checkpoints, cfg.Planted, cfg.Watch = task.Checkpoints, task.Planted, nil
		if task.Lines {
			cfg.Watch = sim.Lines(func(l sim.Line) {
				if broken == nil {
					broken = enc.Encode(simAnswer{Line: &l})
				}
			})
		}
		r := sim.Run(task.Seed, cfg)
		if err := errors.Join(broken, enc.Encode(simAnswer{Result: &r}), buffered.Flush()); err != nil {
			return err
		}
		tidier.tidy()
	}
}

// propertyProcess is violated by a run that ends its process, or that does not end.
const propertyProcess = "process"

// maxWorkerDeaths bounds how many runs may end their process before a pool gives up: then it is not the seeds.
const maxWorkerDeaths = 20

// simPool runs seeds in worker processes. A worker that ends, or does not answer, is replaced; its seed counts as failed.
type simPool struct {
	command func() *exec.Cmd
	hang    time.Duration // a worker that takes longer for a seed, in real time, prints its goroutines and is ended

	mu     sync.Mutex
	next   func() (uint64, bool)
	order  uint64 // of the seed that is handed out next
	deaths atomic.Int32
	errs   []error
}

// seedResult is the result of the seed that was handed out n-th, from 0.
type seedResult struct {
	n      uint64
	result sim.Result
}

// run starts workers that run the seeds which next gives, until it gives none. Results come as they are ready; the channel is closed
// when all workers have ended, and err then says what went wrong. It must be read to its end. next is called by one goroutine at a time.
func (p *simPool) run(workers int, next func() (uint64, bool)) <-chan seedResult {
	p.next = next
	results := make(chan seedResult)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			if err := p.serve(results); err != nil {
				p.mu.Lock()
				p.errs = append(p.errs, err)
				p.mu.Unlock()
			}
		})
	}
	go func() {
		group.Wait()
		close(results)
	}()
	return results
}

// err is what went wrong besides seeds that failed. To be called after the results have ended.
func (p *simPool) err() error { return errors.Join(p.errs...) }

// take takes the next seed, unless the pool has given up.
func (p *simPool) take() (n, seed uint64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.errs) > 0 {
		return 0, 0, false
	}
	seed, ok = p.next()
	n = p.order
	if ok {
		p.order++
	}
	return n, seed, ok
}

// serve keeps one worker busy.
func (p *simPool) serve(results chan<- seedResult) error {
	var w *simWorker
	defer func() {
		if w != nil {
			_ = w.end() // it has said all that it had to say
		}
	}()
	for {
		n, seed, ok := p.take()
		if !ok {
			return nil
		}
		if w == nil {
			var err error
			if w, err = startSimWorker(p.command()); err != nil {
				return err
			}
		}
		r, err := w.run(simTask{Seed: seed}, p.hang, nil)
		if err != nil {
			_ = w.end() // err says why
			w = nil
			r = sim.Result{Seed: seed, Violation: &sim.Violation{Property: propertyProcess, Detail: err.Error()}}
			if p.deaths.Add(1) > maxWorkerDeaths {
				return fmt.Errorf("%d workers have ended, the last with seed %d: %w", maxWorkerDeaths+1, seed, err)
			}
		}
		results <- seedResult{n, r}
	}
}

// simWorker is a worker process.
type simWorker struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	ended bool
}

func startSimWorker(cmd *exec.Cmd) (*simWorker, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &simWorker{cmd: cmd, in: in, out: json.NewDecoder(bufio.NewReader(out))}, nil
}

// run gives the worker a task and passes on the lines that it asks for. An error says that the worker has ended.
func (w *simWorker) run(task simTask, hang time.Duration, each func(sim.Line)) (r sim.Result, err error) {
	var hung atomic.Bool
	timer := time.AfterFunc(hang, func() {
		hung.Store(true)
		_ = w.cmd.Process.Signal(syscall.SIGQUIT) // the runtime prints where it is; a process that has ended needs none
		time.AfterFunc(5*time.Second, func() { _ = w.cmd.Process.Kill() })
	})
	defer timer.Stop()
	if err = json.NewEncoder(w.in).Encode(task); err == nil {
		r, err = w.read(each)
	}
	if err == nil {
		return r, nil
	}
	ended := w.end()
	switch {
	case hung.Load():
		return r, fmt.Errorf("the run did not end within %v", hang)
	case ended != nil:
		return r, fmt.Errorf("the run ended its process: %w", ended)
	}
	return r, fmt.Errorf("a worker's output: %w", err)
}

// read reads what the worker prints for a task.
func (w *simWorker) read(each func(sim.Line)) (sim.Result, error) {
	for {
		var a simAnswer
		switch err := w.out.Decode(&a); {
		case err != nil:
			return sim.Result{}, err
		case a.Result != nil:
			return *a.Result, nil
		case a.Line != nil && each != nil:
			each(*a.Line)
		default:
			return sim.Result{}, errors.New("neither a line nor a result")
		}
	}
}

// end lets the worker end and waits for it.
func (w *simWorker) end() error {
	if w.ended {
		return nil
	}
	w.ended = true
	_ = w.in.Close() // it may have ended before
	return w.cmd.Wait()
}

// simWorkerCommand makes commands that start workers of the godwit at a path, with further variables of the environment.
func simWorkerCommand(path string, env ...string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(path, "sim", "work")
		cmd.Env = append(os.Environ(), env...)
		cmd.Stderr = os.Stderr
		return cmd
	}
}

// inOrder passes results on in the order in which their seeds were handed out. It keeps those that wait for an earlier one, which are
// few: each worker has one seed at a time.
type inOrder struct {
	waiting map[uint64]sim.Result
	next    uint64
}

func newInOrder() *inOrder { return &inOrder{waiting: map[uint64]sim.Result{}} }

// add takes a result and calls each for it and those that waited for it.
func (o *inOrder) add(s seedResult, each func(*sim.Result) error) error {
	o.waiting[s.n] = s.result
	for {
		r, ok := o.waiting[o.next]
		if !ok {
			return nil
		}
		delete(o.waiting, o.next)
		o.next++
		if err := each(&r); err != nil {
			return err
		}
	}
}
